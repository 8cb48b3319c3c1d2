package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func ack(t testing.TB, ip net.IP, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(ip)}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReadLease(t *testing.T) {
	ip4 := net.IPv4
	mask := dhcpv4.WithNetmask(net.CIDRMask(24, 32))
	for _, tt := range []struct {
		name    string
		ack     *dhcpv4.DHCPv4
		want    string
		wantErr string
	}{
		{
			"QEMU's", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithRouter(ip4(10, 0, 2, 2)), dhcpv4.WithDNS(ip4(10, 0, 2, 3)), dhcpv4.WithLeaseTime(86400)),
			"10.0.2.15/24 via 10.0.2.2 dns [10.0.2.3] renew 12h0m0s", "",
		},
		{
			"router elsewhere", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithRouter(ip4(192, 168, 0, 1), ip4(10, 0, 2, 15), ip4(10, 0, 2, 9))),
			"10.0.2.15/24 via 10.0.2.9 dns [] renew 30m0s", "",
		},
		{"lease of no time", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithLeaseTime(0)), "10.0.2.15/24 via invalid IP dns [] renew 1m0s", ""},
		{"lease of all time", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithLeaseTime(0xffffffff)), "10.0.2.15/24 via invalid IP dns [] renew 12h0m0s", ""},
		{
			"many and odd name servers", ack(t, ip4(10, 0, 2, 15), mask,
				dhcpv4.WithDNS(ip4(127, 0, 0, 1), ip4(255, 255, 255, 255), ip4(1, 1, 1, 1), ip4(2, 2, 2, 2), ip4(3, 3, 3, 3), ip4(4, 4, 4, 4))),
			"10.0.2.15/24 via invalid IP dns [1.1.1.1 2.2.2.2 3.3.3.3] renew 30m0s", "",
		},
		{"no address", ack(t, ip4(0, 0, 0, 0), mask), "", "want a unicast"},
		{"loopback", ack(t, ip4(127, 0, 0, 2), mask), "", "want a unicast"},
		{"multicast", ack(t, ip4(224, 0, 0, 1), mask), "", "want a unicast"},
		{"link-local", ack(t, ip4(169, 254, 169, 254), mask), "", "want a unicast"},
		{"no mask", ack(t, ip4(10, 0, 2, 15)), "", "network mask"},
		{"mask of everything", ack(t, ip4(10, 0, 2, 15), dhcpv4.WithNetmask(net.CIDRMask(0, 32))), "", "network mask"},
		{"mask with holes", ack(t, ip4(10, 0, 2, 15), dhcpv4.WithNetmask(net.IPv4Mask(255, 0, 255, 0))), "", "network mask"},
	} {
		l, err := readLease(tt.ack)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
			}
			continue
		}
		got := l.Address.String() + " via " + l.Router.String() + " dns " + strings.ReplaceAll(strings.Join(names(l.NameServers), " "), "  ", " ") + " renew " + l.Renew.String()
		if err != nil || got != strings.NewReplacer("[", "", "]", "").Replace(tt.want) {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

func names(as []netip.Addr) (out []string) {
	for _, a := range as {
		out = append(out, a.String())
	}
	return out
}

func FuzzReadLease(f *testing.F) {
	f.Add(ack(f, net.IPv4(10, 0, 2, 15), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 0, 2, 2))).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		l, err := readLease(m)
		if err == nil && (!l.Address.IsValid() || l.Renew < minRenew || l.Renew > maxRenew || len(l.NameServers) > maxNameServers) {
			t.Errorf("accepted %+v", l)
		}
	})
}

// wire is a Link whose server answers as told, once per request.
type wire struct {
	answers []Lease // a zero Lease stands for no answer
	asked   int
	applied []Lease
}

func (w *wire) Acquire(context.Context) (Lease, error) {
	w.asked++
	if len(w.answers) == 0 {
		return Lease{}, errors.New("no answer")
	}
	l := w.answers[0]
	w.answers = w.answers[1:]
	if !l.Address.IsValid() {
		return Lease{}, errors.New("no answer")
	}
	return l, nil
}

func (w *wire) Apply(l Lease) error {
	w.applied = append(w.applied, l)
	return nil
}

func TestUpAndKeep(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	first := Lease{Address: netip.MustParsePrefix("10.0.2.15/24"), NameServers: []netip.Addr{netip.MustParseAddr("10.0.2.3")}, Renew: time.Hour}
	second := Lease{Address: netip.MustParsePrefix("10.0.2.16/24"), NameServers: []netip.Addr{netip.MustParseAddr("10.0.2.4")}, Renew: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []Lease{{}, {}, first, {}, second}}
		start := time.Now()
		got, err := Up(t.Context(), w, conf, time.Minute)
		if err != nil || got.Address != first.Address || w.asked != 3 || time.Since(start) != 200*time.Millisecond {
			t.Fatalf("up: %+v, %v after %d requests", got, err, w.asked)
		}
		if b, _ := os.ReadFile(conf); string(b) != "# of the host's choice: answers prove nothing\nnameserver 10.0.2.3\n" {
			t.Errorf("resolv.conf is %q", b)
		}
		if got := NameServers(conf); len(got) != 1 || got[0] != netip.MustParseAddrPort("10.0.2.3:53") {
			t.Errorf("name servers are %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Minute)
		defer cancel()
		var notes []string
		Keep(ctx, w, got, conf, func(s string) { notes = append(notes, s) })
		if len(w.applied) != 2 || w.applied[1].Address != second.Address || len(notes) != 2 {
			t.Errorf("keep: applied %+v, noted %q", w.applied, notes)
		}
		if b, _ := os.ReadFile(conf); string(b) != "# of the host's choice: answers prove nothing\nnameserver 10.0.2.4\n" {
			t.Errorf("resolv.conf is %q", b)
		}
		start = time.Now()
		if _, err := Up(t.Context(), &wire{}, conf, 10*time.Second); err == nil || time.Since(start) != 10*time.Second {
			t.Errorf("up without a server: %v after %v, want an error after 10 s", err, time.Since(start))
		}
	})
}

func TestStatic(t *testing.T) {
	prefixes := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	dns := []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	for _, tt := range []struct {
		addresses []netip.Prefix
		gateways  []string
		want      string // address, others, routers
	}{
		{prefixes("192.0.2.7/24"), []string{"192.0.2.1"}, "192.0.2.7/24 [] 192.0.2.1 invalid IP"},
		{prefixes("2001:db8::7/64", "192.0.2.7/24"), []string{"fe80::1", "192.0.2.1"}, "192.0.2.7/24 [2001:db8::7/64] 192.0.2.1 fe80::1"},
		{prefixes("2001:db8::7/64"), []string{"2001:db8::1"}, "invalid Prefix [2001:db8::7/64] invalid IP 2001:db8::1"},
		{prefixes("192.0.2.7/24", "192.0.2.8/24"), nil, "192.0.2.7/24 [192.0.2.8/24] invalid IP invalid IP"},
	} {
		var gateways []netip.Addr
		for _, g := range tt.gateways {
			gateways = append(gateways, netip.MustParseAddr(g))
		}
		w, conf := &wire{}, filepath.Join(t.TempDir(), "resolv.conf")
		if err := Fix(w, Static(tt.addresses, gateways, dns), conf); err != nil || w.asked != 0 || len(w.applied) != 1 {
			t.Errorf("%v: %v, asked %d times", tt.addresses, err, w.asked)
			continue
		}
		l := w.applied[0]
		if got := fmt.Sprint(l.Address, " ", l.Others, " ", l.Router, " ", l.Router6); got != tt.want || len(l.String()) < 12 {
			t.Errorf("%s, want %s", got, tt.want)
		}
		if got := NameServers(conf); len(got) != 1 || got[0].Addr() != dns[0] {
			t.Errorf("name servers are %v", got)
		}
	}
}
