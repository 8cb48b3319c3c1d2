package egress

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/secretvm/secretvm/vm"
)

const (
	// stay is how long an address that was answered may be sent to at least:
	// programs remember answers for longer than their time to live.
	stay = time.Hour

	// maxAddresses bounds what the list's names can stand for at a time, address
	// and port.
	maxAddresses = 4096

	maxQueries   = 64 // at a time; more wait in the socket's buffer, or are lost
	upstreamWait = 2 * time.Second
	maxMessage   = 1232 // bytes of a message over UDP (dnsflagday.net/2020)
	maxAnswers   = 64
	answerTTL    = 60 // seconds at most, so that programs ask again soon
)

// Names answers the name queries of containers, for the names of the list only.
// It keeps what it answers in step with the table.
type Names struct {
	List     []vm.Destination
	Upstream func() []netip.AddrPort                      // the network's name servers
	Change   func(admitted, ended []netip.AddrPort) error // of the table

	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

// Serve answers on c until ctx ends.
func (n *Names) Serve(ctx context.Context, c net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	slots := make(chan struct{}, maxQueries)
	var wg sync.WaitGroup
	defer wg.Wait()
	buffer := make([]byte, maxMessage)
	for {
		size, from, err := c.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read name query: %w", err)
		}
		query := slices.Clone(buffer[:size])
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if answer := n.answer(ctx, query); answer != nil {
				_, _ = c.WriteTo(answer, from) // who asked may be gone
			}
		})
	}
}

// answer answers one query (RFC 1035, 4.1); nil where it is none.
func (n *Names) answer(ctx context.Context, query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: head.ID, Response: true, RecursionDesired: head.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	ports := n.ports(q)
	switch {
	case head.OpCode != 0 || q.Class != dnsmessage.ClassINET:
		m.RCode = dnsmessage.RCodeRefused
	case len(ports) == 0:
		m.RCode = dnsmessage.RCodeNameError // at once, where a refusal would be tried again
	case q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA:
		m.Answers, m.RCode, err = n.resolve(ctx, q)
		if err == nil {
			err = n.admit(m.Answers, ports)
		}
		if err != nil {
			m.Answers, m.RCode = nil, dnsmessage.RCodeServerFailure
		}
	}
	out, err := m.Pack()
	if err == nil && len(out) > maxMessage {
		m.Answers, m.Truncated = nil, true
		out, err = m.Pack()
	}
	if err != nil {
		return nil
	}
	return out
}

// ports returns the ports to which the list lets through what q names.
func (n *Names) ports(q dnsmessage.Question) (ports []uint16) {
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	for _, d := range n.List {
		if d.Covers(name) {
			ports = append(ports, d.Port)
		}
	}
	return ports
}

// resolve asks the network's name servers in turn. Of their answer it takes
// addresses and aliases, and makes a new one of them: of what a container writes
// only the name leaves the machine, in lower case, as capitals could tell
// something.
func (n *Names) resolve(ctx context.Context, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	name, err := dnsmessage.NewName(strings.ToLower(q.Name.String()))
	if err != nil {
		return nil, 0, fmt.Errorf("resolve: %w", err)
	}
	q.Name = name
	failure := errors.New("the network has no name server")
	for _, server := range n.Upstream() {
		m, err := ask(ctx, server, q)
		if err == nil && (m.RCode == dnsmessage.RCodeSuccess || m.RCode == dnsmessage.RCodeNameError) {
			return usable(m.Answers, q.Type), m.RCode, nil
		}
		failure = errors.Join(failure, err)
	}
	return nil, 0, failure
}

func usable(answers []dnsmessage.Resource, kind dnsmessage.Type) (out []dnsmessage.Resource) {
	for _, a := range answers {
		if h := a.Header; h.Class == dnsmessage.ClassINET && (h.Type == kind || h.Type == dnsmessage.TypeCNAME) && len(out) < maxAnswers {
			a.Header.TTL = min(h.TTL, answerTTL)
			out = append(out, a)
		}
	}
	return out
}

// admit lets the addresses of answers through before anybody learns of them.
func (n *Names) admit(answers []dnsmessage.Resource, ports []uint16) error {
	var found []netip.AddrPort
	for _, a := range answers {
		var address netip.Addr
		switch body := a.Body.(type) {
		case *dnsmessage.AResource:
			address = netip.AddrFrom4(body.A)
		case *dnsmessage.AAAAResource:
			address = netip.AddrFrom16(body.AAAA)
		default:
			continue
		}
		if address.Is4In6() {
			continue // no packet goes to such an address
		}
		for _, port := range ports {
			found = append(found, netip.AddrPortFrom(address, port))
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.until == nil {
		n.until = map[netip.AddrPort]time.Time{}
	}
	now := time.Now()
	var admitted, ended []netip.AddrPort
	for a, until := range n.until {
		if now.After(until) && !slices.Contains(found, a) {
			ended = append(ended, a)
		}
	}
	for _, a := range found {
		if _, is := n.until[a]; !is && !slices.Contains(admitted, a) {
			admitted = append(admitted, a)
		}
	}
	if len(n.until)+len(admitted)-len(ended) > maxAddresses {
		return fmt.Errorf("names stand for more than %d addresses", maxAddresses)
	}
	if len(admitted)+len(ended) > 0 {
		if err := n.Change(admitted, ended); err != nil {
			return err
		}
	}
	for _, a := range ended {
		delete(n.until, a)
	}
	for _, a := range found {
		n.until[a] = now.Add(stay)
	}
	return nil
}

// ask asks one server over UDP, with an id and a port that others cannot know.
func ask(ctx context.Context, server netip.AddrPort, q dnsmessage.Question) (m dnsmessage.Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamWait)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "udp", server.String())
	if err != nil {
		return m, fmt.Errorf("ask name server: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	id := randomID()
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	out, err := query.Pack()
	if err != nil {
		return m, fmt.Errorf("ask name server: %w", err)
	}
	if _, err := c.Write(out); err != nil {
		return m, fmt.Errorf("ask name server %s: %w", server, err)
	}
	buffer := make([]byte, maxMessage)
	for {
		size, err := c.Read(buffer)
		if err != nil {
			return m, fmt.Errorf("ask name server %s: %w", server, err)
		}
		var m dnsmessage.Message
		if m.Unpack(buffer[:size]) == nil && m.Response && m.ID == id && len(m.Questions) == 1 && sameQuestion(m.Questions[0], q) {
			return m, nil
		}
	}
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}
