package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/configdisk"
)

// wire is a Link that keeps what it is given.
type wire struct{ applied []configdisk.Network }

func (w *wire) Apply(n configdisk.Network) error {
	w.applied = append(w.applied, n)
	return nil
}

func offer(address string, more ...netip.Prefix) Offer {
	return Offer{Network: configdisk.Network{
		Addresses: append([]netip.Prefix{netip.MustParsePrefix(address)}, more...), DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")},
	}}
}

// TestOffers: the first offer ends the wait, later ones replace it, and what is none
// changes nothing, whoever makes it.
func TestOffers(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		var notes []string
		o := NewOffers(w, nil, conf, func(s string) { notes = append(notes, s) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			_, _ = o.Take(ctx, Offer{Error: "DHCP on eth0: nobody answers"})
			_, _ = o.Take(ctx, offer("10.0.2.15/24"))
		}()
		start := time.Now()
		first, err := o.First(ctx, time.Minute)
		if err != nil || fmt.Sprint(first.Addresses) != "[10.0.2.15/24]" || time.Since(start) > 2*time.Second {
			t.Fatalf("first: %v, %v after %v", first, err, time.Since(start))
		}
		time.Sleep(2 * pause)
		if b, _ := os.ReadFile(conf); string(b) != "# of the host's choice: answers prove nothing\nnameserver 10.0.2.3\n" {
			t.Errorf("resolv.conf is %q", b)
		}
		if got := NameServers(conf); len(got) != 1 || got[0] != netip.MustParseAddrPort("10.0.2.3:53") {
			t.Errorf("name servers are %v", got)
		}
		for _, next := range []Offer{offer("10.0.2.15/24"), offer("10.0.2.16/24"), {Error: "nobody answers"}} {
			_, _ = o.Take(t.Context(), next)
		}
		if got := strings.Join(notes, ", "); got != "address is now 10.0.2.16/24, renew address: nobody answers" || len(w.applied) != 3 {
			t.Errorf("noted %s, applied %v", got, w.applied)
		}
	})
}

// TestA8_OffersAreJudged: a client of DHCP that a stranger has taken over gives the
// machine no address that is none, and cannot keep it busy.
func TestA8_OffersAreJudged(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		hinted := []netip.Addr{netip.MustParseAddr("192.0.2.53")}
		o := NewOffers(w, hinted, conf, func(string) {})
		elsewhere := offer("10.0.2.15/24")
		elsewhere.Network.Gateways = []netip.Addr{netip.MustParseAddr("192.168.0.1")}
		start := time.Now()
		bad := map[string]Offer{
			"loopback": offer("127.0.0.1/8"), "everything": offer("10.0.2.15/0"), "multicast": offer("224.0.0.1/24"), "nothing": {},
			"many": offer("10.0.2.15/24", make([]netip.Prefix, 100)...), "only of IPv6": offer("2001:db8::1/64"), "router elsewhere": elsewhere,
			"long": {Error: strings.Repeat("x", 1<<20)},
		}
		for name, b := range bad {
			if _, err := o.Take(t.Context(), b); err == nil || len(err.Error()) > 300 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(w.applied) != 0 || time.Since(start) < time.Duration(len(bad))*pause {
			t.Errorf("applied %v, after %v", w.applied, time.Since(start))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := o.First(ended, time.Minute); err == nil || !strings.HasPrefix(err.Error(), "no address by DHCP within 1m0s: ") || errors.Is(err, context.Canceled) {
			t.Errorf("first: %v", err)
		}
		if _, err := o.Take(t.Context(), offer("10.0.2.15/24")); err != nil {
			t.Error(err)
		}
		if got := NameServers(conf); len(got) != 1 || got[0].Addr() != hinted[0] {
			t.Errorf("name servers are %v, want the hinted one", got)
		}
	})
}

// TestA8_SocketHearsAnswersOnly: what the client of DHCP is handed lets it hear
// nothing of what else is said on the machine, and it cannot change that.
func TestA8_SocketHearsAnswersOnly(t *testing.T) {
	socket, err := Socket()
	if errors.Is(err, unix.EPERM) {
		t.Skip("this needs CAP_NET_RAW")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := unix.SetsockoptInt(int(socket.Fd()), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("the filter comes off: %v", err)
	}
	if err := unix.Bind(int(socket.Fd()), &unix.SockaddrLinklayer{Protocol: unix.ETH_P_IP >> 8, Ifindex: 1}); err != nil { // lo
		t.Fatal(err)
	}
	said := []int{67, 68, 69}
	for _, port := range said {
		conn, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.Sendto(conn, []byte{byte(port)}, 0, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		unix.Close(conn)
		if err != nil {
			t.Skipf("nothing can be said on lo: %v", err)
		}
	}
	heard := make([]byte, 100)
	for {
		n, _, err := unix.Recvfrom(int(socket.Fd()), heard, unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		if n != 29 || heard[28] != 68 { // headers of IPv4 and UDP before it
			t.Errorf("heard % x", heard[:n])
		}
		said = nil
	}
	if said != nil {
		t.Error("heard no answer")
	}
}

// TestFix: the first address of IPv4 is the machine's own.
func TestFix(t *testing.T) {
	w, conf := &wire{}, filepath.Join(t.TempDir(), "resolv.conf")
	n := offer("2001:db8::7/64", netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("192.0.2.8/24")).Network
	if err := Fix(w, n, conf); err != nil || len(w.applied) != 1 || fmt.Sprint(w.applied[0].Addresses) != "[192.0.2.7/24 192.0.2.8/24 2001:db8::7/64]" {
		t.Errorf("%v, applied %v", err, w.applied)
	}
	if got := NameServers(conf); len(got) != 1 || got[0] != netip.MustParseAddrPort("10.0.2.3:53") {
		t.Errorf("name servers are %v", got)
	}
}
