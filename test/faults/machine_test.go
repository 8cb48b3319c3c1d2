//go:build faults

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

var (
	root   = vm.HashOf([]byte("rootfs"))
	launch = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// send sends a transaction as the owner that the first home has.
func (c *chainOfFour) send(t *testing.T, msg sdk.Msg) {
	t.Helper()
	owner, err := c.nodes[0].home.Owner()
	must(t, err)
	encoding, err := chain.NewEncoding()
	must(t, err)
	var at wire.Account
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, c.nodes[0].api, wire.PathAccounts+"/"+owner.Address, nil, &at))
	tx, err := owner.Sign(t.Context(), encoding, at, 10_000_000, msg)
	must(t, err)
	var result wire.TxResult
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodPost, c.nodes[0].api, wire.PathTx, wire.Tx{Tx: tx}, &result))
}

// reshare has the nodes begin to make their shares anew.
func (c *chainOfFour) reshare(t *testing.T) {
	t.Helper()
	c.send(t, &committee.MsgReshare{Sender: c.made.Owner})
}

// service registers a service with one image, and returns its config.
func (c *chainOfFour) service(t *testing.T) vm.Config {
	t.Helper()
	s, err := c.status(c.nodes[0])
	must(t, err)
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: c.made.Owner + "/web",
		KMS:        vm.KMS{ChainID: c.made.ChainID, GroupKey: s.GroupKey.String()},
		InstanceID: fmt.Sprintf("%032x", 1), TLS: "self", Images: "digest", GPU: "none",
	}
	c.send(t, &types.MsgCreateService{Owner: c.made.Owner, Name: "web"})
	template, err := cfg.Template().Canonical()
	must(t, err)
	events, err := vm.BootEvents(root, cfg.Template())
	must(t, err)
	registers, err := vm.Replay(events)
	must(t, err)
	c.send(t, &types.MsgAddImage{
		Owner: c.made.Owner, Service: cfg.Service, Platforms: []types.Platform{{Tee: "tdx", Mrtd: launch.MRTD[:], Rtmr0: launch.RTMR[0][:]}},
		Rtmr1: launch.RTMR[1][:], Rtmr2: launch.RTMR[2][:], Rtmr3: registers[3][:], RootHash: root[:], Template: template,
	})
	return cfg
}

// machine is a booted soft TEE that asks for its disk key.
type machine struct {
	*emulator.Machine
	request client.Request
	id      keys.ID
}

// Quote implements client.Quoter.
func (m *machine) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return m.Machine.Quote(reportData)
}

// boot starts the machine of a number.
func boot(pki *emulator.PKI, cfg vm.Config, number int) (*machine, error) {
	cfg.InstanceID = fmt.Sprintf("%032x", number)
	at := launch
	var err error
	if at.MRConfigID, err = cfg.ConfigID(); err != nil {
		return nil, err
	}
	events, err := vm.BootEvents(root, cfg)
	if err != nil {
		return nil, err
	}
	soft, err := emulator.New(pki, at)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if _, err := soft.Extend(e.Register, e.Digest); err != nil {
			return nil, err
		}
	}
	id := keys.Disk(cfg.Service, cfg.InstanceID)
	return &machine{Machine: soft, id: id, request: client.Request{Config: cfg, Events: events, Keys: []keys.ID{id}}}, nil
}

// from is a client's HTTP from an address of its own: nodes bound what one
// address may ask.
func from(number int) *http.Client {
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+number>>16), byte(number>>8), byte(number)|1)}}
	return &http.Client{
		Timeout:       40 * time.Second,
		Transport:     &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: 30 * time.Second, MaxConnsPerHost: 4},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// crowd is what all machines did.
type crowd struct {
	mu       sync.Mutex
	released []time.Time // when releases ended
	grants   []vm.Hash
	failed   int // releases that came to no decision
	refused  int // releases of a machine that must not have a key
	twice    int // requests that were shown to two nodes
	advanced int

	last atomic.Pointer[wire.PartialsRequest] // of the newest grant
	at   atomic.Int64                         // of it, unix nanoseconds
}

// live has one machine boot again and again until ctx ends: its key must always
// be the first, its disk's generation what it said last.
func (w *crowd) live(ctx context.Context, t *testing.T, c *chainOfFour, cfg vm.Config, number int) {
	m, err := boot(c.pki, cfg, number)
	if err != nil {
		t.Error(err)
		return
	}
	var first keys.Secret
	generation, unsure := uint64(0), false
	for ctx.Err() == nil {
		cl, err := client.New(c.urls(), cfg.KMS)
		if err != nil {
			t.Error(err)
			return
		}
		cl.HTTP = from(number)
		cl.HTTP.Transport = &echo{crowd: w, via: cl.HTTP.Transport, chain: c, t: t}
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		session, err := cl.Release(try, m, m.request)
		cancel()
		if err != nil {
			if undecided(err) {
				w.count(&w.failed)
				continue
			}
			c.violate(t, "machine %d was refused: %v", number, err)
			return
		}
		key, err := session.Key(m.id)
		if err != nil {
			t.Errorf("machine %d: %v", number, err)
			return
		}
		if first.IsZero() {
			first = key
		}
		if key != first {
			c.violate(t, "machine %d got another key", number)
			return
		}
		grant := session.Grant()
		switch {
		case grant.Generation == generation:
		case unsure && grant.Generation == generation+1:
			generation, unsure = generation+1, false
		default:
			c.violate(t, "machine %d: generation is %d, want %d (or the next: %t)", number, grant.Generation, generation, unsure)
			return
		}
		w.note(grant, m.id)
		try, cancel = context.WithTimeout(ctx, 8*time.Second)
		err = session.Advance(try, generation+1)
		cancel()
		switch {
		case err == nil:
			generation, unsure = generation+1, false
			w.count(&w.advanced)
		case undecided(err):
			unsure = true
		default:
			t.Errorf("machine %d: %v", number, err)
			return
		}
		session.Close()
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// intrude has a machine that runs something else ask for the service's keys.
func (w *crowd) intrude(ctx context.Context, t *testing.T, c *chainOfFour, cfg vm.Config, number int) {
	cfg.ComposeHash = vm.HashOf([]byte("services: {intruder: {}}\n"))
	m, err := boot(c.pki, cfg, number)
	if err != nil {
		t.Error(err)
		return
	}
	for ctx.Err() == nil {
		cl, err := client.New(c.urls(), cfg.KMS)
		if err != nil {
			t.Error(err)
			return
		}
		cl.HTTP = from(number)
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		_, err = cl.Release(try, m, m.request)
		cancel()
		switch {
		case err == nil:
			c.violate(t, "a strange machine got a key")
			return
		case undecided(err):
		default:
			w.count(&w.refused)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// undecided reports whether err says that nobody decided.
func undecided(err error) bool {
	var outage *client.Outage
	return errors.As(err, &outage) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func (w *crowd) count(n *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*n++
}

func (w *crowd) note(g wire.Grant, id keys.ID) {
	w.last.Store(&wire.PartialsRequest{Grant: g.ID, Keys: []keys.ID{id}})
	now := time.Now()
	w.at.Store(now.UnixNano())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.released = append(w.released, now)
	w.grants = append(w.grants, g.ID)
}

// gap is the longest time without a release that ended between two moments.
func (w *crowd) gap(begin, end time.Time) (longest time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := begin
	for _, at := range w.released {
		if at.After(begin) && at.Before(end) {
			longest = max(longest, at.Sub(before))
			before = at
		}
	}
	return max(longest, end.Sub(before))
}

// echo shows every release to a second node at the same time. The chain must
// grant it once.
type echo struct {
	crowd *crowd
	via   http.RoundTripper
	chain *chainOfFour
	t     *testing.T
}

// RoundTrip implements http.RoundTripper.
func (e *echo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != wire.PathRelease || r.GetBody == nil {
		return e.via.RoundTrip(r)
	}
	second, err := e.second(r)
	if err != nil {
		return nil, err
	}
	granted := make(chan bool, 1)
	go func() {
		res, err := e.via.RoundTrip(second)
		if err != nil {
			granted <- false
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		granted <- res.StatusCode == http.StatusOK
	}()
	res, err := e.via.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	ours := res.StatusCode == http.StatusOK
	select {
	case theirs := <-granted:
		e.crowd.count(&e.crowd.twice)
		if ours && theirs {
			e.chain.violate(e.t, "one request was granted twice: %s", body)
		}
	case <-time.After(100 * time.Millisecond): // the other node is not well
	}
	return res, nil
}

// second is the same request for another node.
func (e *echo) second(r *http.Request) (*http.Request, error) {
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	time.AfterFunc(10*time.Second, cancel)
	urls := e.chain.urls()
	for i, u := range urls {
		if u == "http://"+r.URL.Host {
			again, err := http.NewRequestWithContext(ctx, http.MethodPost, urls[(i+1)%len(urls)]+wire.PathRelease, body)
			if err == nil {
				again.Header = r.Header.Clone()
			}
			return again, err
		}
	}
	return nil, fmt.Errorf("%s is no node", r.URL.Host)
}

// CloseIdleConnections lets http.Client end what the machine no longer needs.
func (e *echo) CloseIdleConnections() {
	if t, ok := e.via.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
