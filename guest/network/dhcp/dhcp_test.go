package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/secretvm/secretvm/guest/network"
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
			"[10.0.2.15/24] via [10.0.2.2] dns [10.0.2.3] renew 12h0m0s", "",
		},
		{
			"router elsewhere", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithRouter(ip4(192, 168, 0, 1), ip4(10, 0, 2, 15), ip4(10, 0, 2, 9))),
			"[10.0.2.15/24] via [10.0.2.9] dns [] renew 30m0s", "",
		},
		{"lease of no time", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithLeaseTime(0)), "[10.0.2.15/24] via [] dns [] renew 1m0s", ""},
		{"lease of all time", ack(t, ip4(10, 0, 2, 15), mask, dhcpv4.WithLeaseTime(0xffffffff)), "[10.0.2.15/24] via [] dns [] renew 12h0m0s", ""},
		{
			"many and odd name servers", ack(t, ip4(10, 0, 2, 15), mask,
				dhcpv4.WithDNS(ip4(127, 0, 0, 1), ip4(255, 255, 255, 255), ip4(1, 1, 1, 1), ip4(2, 2, 2, 2), ip4(3, 3, 3, 3), ip4(4, 4, 4, 4))),
			"[10.0.2.15/24] via [] dns [1.1.1.1 2.2.2.2 3.3.3.3] renew 30m0s", "",
		},
		{"no address", ack(t, ip4(0, 0, 0, 0), mask), "", "want a unicast"},
		{"this network", ack(t, ip4(0, 1, 2, 3), mask), "", "want a unicast"},
		{"loopback", ack(t, ip4(127, 0, 0, 2), mask), "", "want a unicast"},
		{"multicast", ack(t, ip4(224, 0, 0, 1), mask), "", "want a unicast"},
		{"link-local", ack(t, ip4(169, 254, 169, 254), mask), "", "want a unicast"},
		{"no mask", ack(t, ip4(10, 0, 2, 15)), "", "network mask"},
		{"mask of everything", ack(t, ip4(10, 0, 2, 15), dhcpv4.WithNetmask(net.CIDRMask(0, 32))), "", "network mask"},
		{"mask with holes", ack(t, ip4(10, 0, 2, 15), dhcpv4.WithNetmask(net.IPv4Mask(255, 0, 255, 0))), "", "network mask"},
	} {
		n, renew, err := readLease(tt.ack)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
			}
			continue
		}
		if got := fmt.Sprintf("%v via %v dns %v renew %v", n.Addresses, n.Gateways, n.DNS, renew); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
		if err := n.Validate(); err != nil {
			t.Errorf("%s: guestd would refuse %v: %v", tt.name, n, err)
		}
	}
}

func FuzzReadLease(f *testing.F) {
	f.Add(ack(f, net.IPv4(10, 0, 2, 15), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IPv4(10, 0, 2, 2))).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		n, renew, err := readLease(m)
		if err == nil && (n.Validate() != nil || renew < minRenew || renew > maxRenew) {
			t.Errorf("accepted %+v, renewed after %v", n, renew)
		}
	})
}

// wire is a network without a wire: a server answers what is written to it.
type wire struct {
	t       *testing.T
	closed  chan struct{}
	answers chan []byte
	answer  func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 // nil: none
}

func (w *wire) open() (net.PacketConn, error) {
	w.closed, w.answers = make(chan struct{}), make(chan []byte, 8)
	return w, nil
}

// WriteTo takes a packet from the header of IPv4 on: 20 bytes, and 8 of UDP.
func (w *wire) WriteTo(b []byte, _ net.Addr) (int, error) {
	asked, err := dhcpv4.FromBytes(b[28:])
	if err != nil {
		w.t.Errorf("what was sent is no DHCP: %v", err)
		return 0, err
	}
	if answer := w.answer(asked); answer != nil {
		out := answer.ToBytes()
		header := make([]byte, 28)
		size := len(header) + len(out)
		header[0], header[2], header[3], header[8], header[9] = 0x45, byte(size>>8), byte(size), 64, 17
		header[21], header[23], header[24], header[25] = 67, 68, byte((size-20)>>8), byte(size-20)
		w.answers <- append(header, out...)
	}
	return len(b), nil
}

func (w *wire) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case out := <-w.answers:
		return copy(b, out), &net.UDPAddr{}, nil
	case <-w.closed:
		return 0, nil, net.ErrClosed
	}
}

func (w *wire) Close() error                     { close(w.closed); return nil }
func (w *wire) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// TestKeep: a server that is not there yet is asked again, a lease is renewed at
// half of its time, and one that is lost is asked for anew.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		host := byte(15)
		w := &wire{t: t}
		w.answer = func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			kind := dhcpv4.MessageTypeOffer
			switch now := time.Since(start); {
			case now < 10*time.Second: // nobody there
				return nil
			case now > 100*time.Minute: // it has forgotten the lease
				host = 16
				if m.MessageType() == dhcpv4.MessageTypeRequest && m.ServerIdentifier() == nil {
					kind = dhcpv4.MessageTypeNak
				}
			}
			if m.MessageType() == dhcpv4.MessageTypeRequest && kind != dhcpv4.MessageTypeNak {
				kind = dhcpv4.MessageTypeAck
			}
			a, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 0, 2, host)),
				dhcpv4.WithServerIP(net.IPv4(10, 0, 2, 2)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 2, 2))),
				dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(7200))
			if err != nil {
				t.Error(err)
			}
			return a
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour+30*time.Minute)
		defer cancel()
		var told []string
		keep(ctx, &client{link: &net.Interface{Name: "eth0", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}, open: w.open}, func(o network.Offer) error {
			what := "lease"
			if o.Error != "" {
				what = o.Error[:12]
			} else if o.Network.Addresses[0] == netip.MustParsePrefix("10.0.2.16/24") {
				what = "another lease"
			}
			told = append(told, fmt.Sprintf("%v: %s", time.Since(start).Round(time.Minute), what))
			if len(told) == 3 {
				return errors.New("guestd does not take it")
			}
			return nil
		})
		want := "0s: DHCP on eth0, 0s: DHCP on eth0, 0s: lease, 1m0s: lease, 1h1m0s: lease, 2h1m0s: another lease, 3h1m0s: another lease"
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	})
}
