//go:build faults

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/kmstest"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// send sends a transaction as the owner that the first home has.
func (c *chainOfFour) send(t *testing.T, msg sdk.Msg) {
	t.Helper()
	owner, err := c.nodes[0].home.Owner()
	must(t, err)
	must(t, kmstest.Send(t.Context(), c.nodes[0].api, owner, msg))
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
	cfg := kmstest.Config(c.made.Owner+"/web", "services: {}\n", kmstest.Instance(1), vm.KMS{ChainID: c.made.ChainID, GroupKey: s.GroupKey.String()})
	c.send(t, &types.MsgCreateService{Owner: c.made.Owner, Name: "web"})
	image, err := kmstest.Image(c.made.Owner, cfg)
	must(t, err)
	c.send(t, image)
	return cfg
}

// boot starts the machine of a number.
func boot(pki *emulator.PKI, cfg vm.Config, number int) (*kmstest.Machine, error) {
	cfg.InstanceID = kmstest.Instance(number)
	return kmstest.Boot(pki, cfg)
}

// network is the second byte of the machines' addresses.
const network = 1

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
		cl.HTTP = kmstest.Client(network, number)
		cl.HTTP.Transport = &echo{crowd: w, via: cl.HTTP.Transport, chain: c, t: t}
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		session, err := cl.Release(try, m, m.Request)
		cancel()
		if err != nil {
			if undecided(err) {
				w.count(&w.failed)
				continue
			}
			c.violate(t, "machine %d was refused: %v", number, err)
			return
		}
		key, err := session.Key(m.Disk)
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
		w.note(grant, m.Disk)
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
		cl.HTTP = kmstest.Client(network, number)
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		_, err = cl.Release(try, m, m.Request)
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
