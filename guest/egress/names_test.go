package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// upstream is the network's name server. It keeps the names it was asked.
type upstream struct {
	address netip.AddrPort
	mu      sync.Mutex
	asked   []string
}

func newUpstream(t *testing.T, answer func(q dnsmessage.Question, m *dnsmessage.Message)) *upstream {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	u := &upstream{address: c.LocalAddr().(*net.UDPAddr).AddrPort()}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 || len(m.Additionals) > 0 {
				continue
			}
			u.mu.Lock()
			u.asked = append(u.asked, m.Questions[0].Name.String())
			u.mu.Unlock()
			m.Response = true
			answer(m.Questions[0], &m)
			out, err := m.Pack()
			if err != nil {
				continue
			}
			_, _ = c.WriteTo([]byte("not a message"), from)
			_, _ = c.WriteTo(out, from)
		}
	}()
	return u
}

func (u *upstream) servers() []netip.AddrPort { return []netip.AddrPort{u.address} }

// table is a Table in memory.
type table struct {
	open map[netip.AddrPort]bool
	err  error
}

func (f *table) change(in, out []netip.AddrPort) error {
	if f.err != nil {
		return f.err
	}
	for _, a := range out {
		delete(f.open, a)
	}
	for _, a := range in {
		if f.open[a] {
			return errors.New("it is there already")
		}
		f.open[a] = true
	}
	return nil
}

func resource(name string, body dnsmessage.ResourceBody, kind dnsmessage.Type) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET, TTL: 86400}, Body: body}
}

func query(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answerTo(t *testing.T, n *Names, q []byte) (m dnsmessage.Message) {
	t.Helper()
	b := n.answer(t.Context(), q)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return m
}

// W2: a name server that answers for the list only, so that questions cannot
// carry secrets to whoever answers for other names.
func TestW2_NamesAnswersForTheListOnly(t *testing.T) {
	u := newUpstream(t, func(q dnsmessage.Question, m *dnsmessage.Message) {
		name := q.Name.String()
		switch {
		case name == "gone.example.org.":
			m.RCode = dnsmessage.RCodeNameError
		case name == "broken.example.org.":
			m.RCode = dnsmessage.RCodeServerFailure
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{
				resource(name, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("edge.example.net.")}, dnsmessage.TypeCNAME),
				resource("edge.example.net.", &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}, dnsmessage.TypeA),
				resource("edge.example.net.", &dnsmessage.TXTResource{TXT: []string{"instructions"}}, dnsmessage.TypeTXT),
			}
		case q.Type == dnsmessage.TypeAAAA:
			m.Answers = []dnsmessage.Resource{
				resource(name, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::1").As16()}, dnsmessage.TypeAAAA),
				resource(name, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("::ffff:192.0.2.9").As16()}, dnsmessage.TypeAAAA),
			}
		}
	})
	f := &table{open: map[netip.AddrPort]bool{}}
	n := &Names{List: destinations(t, "example.org:443", "example.org:80", "*.example.org:443", "192.0.2.7:443"), Upstream: u.servers, Change: f.change}
	for _, tt := range []struct {
		name    string
		kind    dnsmessage.Type
		code    dnsmessage.RCode
		answers int
		open    string
	}{
		{"example.org.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 2, "192.0.2.1:443 192.0.2.1:80"},
		{"ExAmPlE.oRg.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 2, "192.0.2.1:443 192.0.2.1:80"},
		{"www.example.org.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, 2, "192.0.2.1:443 192.0.2.1:80 [2001:db8::1]:443"},
		{"gone.example.org.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0, ""},
		{"broken.example.org.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, 0, ""},
		{"example.org.", dnsmessage.TypeTXT, dnsmessage.RCodeSuccess, 0, ""},
		{"example.org.", dnsmessage.TypeMX, dnsmessage.RCodeSuccess, 0, ""},
		{"secret.evil.example.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0, ""},
		{"badexample.org.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0, ""},
		{"7.2.0.192.in-addr.arpa.", dnsmessage.TypePTR, dnsmessage.RCodeNameError, 0, ""},
		{".", dnsmessage.TypeNS, dnsmessage.RCodeNameError, 0, ""},
	} {
		m := answerTo(t, n, query(t, tt.name, tt.kind))
		if !m.Response || m.ID != 7 || m.RCode != tt.code || len(m.Answers) != tt.answers || len(m.Questions) != 1 || m.Questions[0].Name.String() != tt.name {
			t.Errorf("%s %v: %+v", tt.name, tt.kind, m)
		}
		for _, a := range m.Answers {
			if a.Header.TTL > answerTTL {
				t.Errorf("%s: a time to live of %d s", tt.name, a.Header.TTL)
			}
		}
		var open []string
		for a := range f.open {
			open = append(open, a.String())
		}
		if slices.Sort(open); tt.open != "" && strings.Join(open, " ") != tt.open {
			t.Errorf("%s: open are %s, want %s", tt.name, open, tt.open)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, name := range u.asked {
		if !strings.HasSuffix(name, "example.org.") || name == "badexample.org." || name != strings.ToLower(name) {
			t.Errorf("the network was asked for %q", name)
		}
	}

	f.err = errors.New("the kernel does not take it")
	n.until = nil
	if m := answerTo(t, n, query(t, "example.org.", dnsmessage.TypeA)); m.RCode != dnsmessage.RCodeServerFailure || len(m.Answers) > 0 {
		t.Errorf("an address is told that is not let through: %+v", m)
	}
}

// Addresses stay open for as long as programs remember them, and no longer.
func TestNamesForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &table{open: map[netip.AddrPort]bool{}}
		n := &Names{Change: f.change}
		admit := func(last byte) error {
			return n.admit([]dnsmessage.Resource{resource("a.", &dnsmessage.AResource{A: [4]byte{192, 0, 2, last}}, dnsmessage.TypeA)}, []uint16{443})
		}
		if err := admit(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stay - time.Minute)
		if err := errors.Join(admit(1), admit(2)); err != nil || len(f.open) != 2 {
			t.Fatalf("%v: open are %v", err, f.open)
		}
		time.Sleep(stay - time.Minute)
		if err := admit(2); err != nil || len(f.open) != 2 {
			t.Fatalf("%v: open are %v", err, f.open)
		}
		time.Sleep(2 * time.Minute)
		if err := admit(3); err != nil || len(f.open) != 2 || f.open[netip.MustParseAddrPort("192.0.2.1:443")] {
			t.Fatalf("%v: open are %v", err, f.open)
		}
		for i := range maxAddresses {
			n.until[netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)] = time.Now().Add(stay)
		}
		if err := admit(4); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("there is no bound: %v", err)
		}
	})
}

func TestNamesServe(t *testing.T) {
	u := newUpstream(t, func(q dnsmessage.Question, m *dnsmessage.Message) {
		m.Answers = []dnsmessage.Resource{resource(q.Name.String(), &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}, dnsmessage.TypeA)}
	})
	f := &table{open: map[netip.AddrPort]bool{}}
	n := &Names{List: destinations(t, "example.org:443"), Upstream: u.servers, Change: f.change}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, c) }()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
	got, err := r.LookupNetIP(t.Context(), "ip4", "example.org")
	if err != nil || len(got) != 1 || got[0].String() != "192.0.2.1" {
		t.Errorf("lookup: %v, %v", got, err)
	}
	var missing *net.DNSError
	if _, err := r.LookupNetIP(t.Context(), "ip4", "example.com"); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("lookup of another name: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(query(f, "example.org.", dnsmessage.TypeA))
	f.Add(query(f, "other.", dnsmessage.TypeA))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := &Names{List: destinations(t, "example.org:443"), Upstream: func() []netip.AddrPort { return nil }}
		out := n.answer(t.Context(), b)
		var m dnsmessage.Message
		if out != nil && (m.Unpack(out) != nil || !m.Response || len(m.Answers) > 0) {
			t.Errorf("%x is answered with %x", b, out)
		}
	})
}
