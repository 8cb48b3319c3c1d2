package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

const (
	chainID = "secretvm-test-1"
	uid     = "00112233445566778899aabbccddeeff"
)

// manager is a group of nodes that share a secret 2 of 3, with one ledger. It
// decides nothing (package kms/chain does, and is tested there): what is tested
// here is what the client makes of answers, right ones and every kind of wrong.
type manager struct {
	t           *testing.T
	commitments keys.Commitments
	shares      []keys.Share
	nodes       []*server
	blockHash   vm.Hash

	quit       chan struct{} // closed at the test's end
	mu         sync.Mutex
	grants     map[vm.Hash]wire.Grant
	generation uint64
	env        *wire.Sealed
	late       map[*server]time.Duration // how long a node takes over an answer
}

// server is one node and the lie that it tells, if any.
type server struct {
	*manager
	url       string
	share     keys.Share
	sharing   keys.Commitments                           // that its answers name; nil: none
	announced keys.Commitments                           // that its status names; nil: the manager's
	pretends  bool                                       // to pass generations on
	refuse    error                                      // its decision about releases
	asked     *atomic.Int32                              // counts who is asked for parts; nil: nobody counts
	lie       func(path string, answer any) (any, error) // nil: honest
}

// newManager shares a secret 2 of 3.
func newManager(t *testing.T) *manager { return newManagerOf(t, 2, 3) }

func newManagerOf(t *testing.T, threshold, nodes int) *manager {
	t.Helper()
	m := &manager{t: t, grants: make(map[vm.Hash]wire.Grant), late: make(map[*server]time.Duration), blockHash: vm.HashOf([]byte("block")), generation: 5, quit: make(chan struct{})}
	var err error
	m.commitments, m.shares, err = keys.Split(rand.Reader, threshold, nodes)
	must(t, err)
	defer t.Cleanup(func() { close(m.quit) }) // before the servers wait for their handlers
	for _, share := range m.shares {
		n := &server{manager: m, share: share}
		mux := http.NewServeMux()
		n.serve(mux, "GET "+wire.PathStatus, n.status)
		n.serve(mux, "POST "+wire.PathRelease, n.release)
		n.serve(mux, "POST "+wire.PathPartials, n.partials)
		n.serve(mux, "POST "+wire.PathAdvance, n.advance)
		n.serve(mux, "GET "+wire.PathGrants+"/{id}", n.grant)
		s := httptest.NewServer(mux)
		t.Cleanup(s.Close)
		n.url = s.URL
		m.nodes = append(m.nodes, n)
	}
	return m
}

func (n *server) serve(mux *http.ServeMux, pattern string, f func(*http.Request) (any, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		late, asked := n.late[n], n.asked
		n.mu.Unlock()
		if asked != nil && r.URL.Path == wire.PathPartials {
			asked.Add(1)
		}
		select {
		case <-time.After(late):
		case <-r.Context().Done():
		case <-n.quit:
		}
		answer, err := f(r)
		n.mu.Lock()
		lie := n.lie
		n.mu.Unlock()
		if lie != nil && err == nil {
			answer, err = lie(r.URL.Path, answer)
		}
		if err != nil {
			wire.WriteRefusal(w, err)
			return
		}
		wire.WriteJSON(w, http.StatusOK, answer)
	})
}

// setLie changes what a running node says.
func (n *server) setLie(lie func(path string, answer any) (any, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lie = lie
}

func (n *server) status(*http.Request) (any, error) {
	n.mu.Lock()
	sharing := n.announced
	n.mu.Unlock()
	if sharing == nil {
		sharing = n.commitments
	}
	s := wire.Status{
		ChainID: chainID, GroupKey: n.commitments.GroupKey(), Threshold: len(sharing), Commitments: sharing,
		Height: 12, BlockHash: n.blockHash, Time: time.Now(),
	}
	return s, nil
}

func (n *server) release(r *http.Request) (any, error) {
	var q wire.Release
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	if n.refuse != nil {
		return nil, n.refuse
	}
	if q.BlockHash != n.blockHash {
		return nil, vm.Refuse(vm.CodeStale, "no such block")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	about := vm.Release{ChainID: chainID, BlockHash: q.BlockHash, InstanceID: q.InstanceID, HPKEKey: q.HPKEKey, SessionKey: q.SessionKey}
	want := about.ReportData()
	if !bytes.Equal(q.Evidence.Quote, want[:]) { // the test's quote is its report data
		return nil, vm.Refuse(vm.CodeReportData, "the quote is about something else")
	}
	g := wire.Grant{
		ID: keys.GrantID(chainID, want), Service: q.Service, InstanceID: q.InstanceID, Keys: q.Keys,
		HPKEKey: q.HPKEKey, SessionKey: q.SessionKey, Generation: n.generation, Env: n.env, Time: blockTime,
	}
	if _, there := n.grants[g.ID]; there {
		return nil, vm.Refuse(vm.CodeReplayed, "granted before")
	}
	n.grants[g.ID] = g
	return g, nil
}

func (n *server) grant(r *http.Request) (any, error) {
	id, err := vm.ParseHash(r.PathValue("id"))
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	g, ok := n.grants[id]
	if !ok {
		return nil, vm.Refuse(vm.CodePermission, "no such grant")
	}
	return g, nil
}

func (n *server) partials(r *http.Request) (any, error) {
	var q wire.PartialsRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	n.mu.Lock()
	g, there := n.grants[q.Grant]
	share, sharing := n.share, n.sharing
	n.mu.Unlock()
	if !there {
		return nil, vm.Refuse(vm.CodePermission, "there is no such grant")
	}
	answer := n.seal(g, share.Index, share, q.Keys)
	answer.Commitments = sharing
	return answer, nil
}

// seal makes the envelope of a node; liars say other things in it.
func (n *server) seal(g wire.Grant, index uint32, share keys.Share, ids []keys.ID) wire.Partials {
	var points []byte
	for _, id := range ids {
		p, err := share.Partial(id)
		if err != nil {
			n.t.Error(err)
		}
		points = append(points, p.Bytes()...)
	}
	sealed, err := keys.Seal(g.HPKEKey, g.Ledger().PartialInfo(g.ID, index, ids), points)
	if err != nil {
		n.t.Error(err)
	}
	return wire.Partials{Grant: g.ID, Node: index, Ledger: g.Ledger(), Sealed: sealed}
}

func (n *server) advance(r *http.Request) (any, error) {
	var q wire.Advance
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%v", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pretends {
		return wire.Advanced{Generation: q.Generation}, nil
	}
	g := n.grants[q.Grant]
	if !ed25519.Verify(g.SessionKey, keys.AdvanceMessage(chainID, q.Grant, q.Generation), q.Signature) {
		return nil, vm.Refuse(vm.CodeSignature, "not the session key")
	}
	if q.Generation != n.generation && q.Generation != n.generation+1 {
		return nil, vm.Refuse(vm.CodeInvalid, "generations rise by one")
	}
	n.generation = q.Generation
	return wire.Advanced{Generation: n.generation}, nil
}

// blockTime is when the chain of the tests grants.
var blockTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// echo is a TEE whose quote is the report data.
type echo struct{}

func (echo) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return vm.Evidence{TEE: vm.Soft, Quote: reportData[:]}, nil
}

func (m *manager) kms() vm.KMS {
	return vm.KMS{ChainID: chainID, GroupKey: m.commitments.GroupKey().String()}
}

func (m *manager) request() Request {
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.Hash{1}, Service: "svm1owner/web", KMS: m.kms(), InstanceID: uid, TLS: "self", Images: "digest", GPU: "none",
	}
	return Request{Config: cfg, Keys: []keys.ID{
		keys.Disk(cfg.Service, uid), {Service: cfg.Service, Scope: keys.ScopeService, Name: "tls"}, envKey(cfg.Service),
	}}
}

func envKey(service string) keys.ID {
	return keys.ID{Service: service, Scope: keys.ScopeService, Name: "env"}
}

// ids are the keys that a node is asked for where nothing is sealed.
func (m *manager) ids() []keys.ID { return m.request().Keys[:2] }

// ask releases through all nodes, for some seconds.
func (m *manager) ask() (*Session, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Second)
	defer cancel()
	return m.client().Release(ctx, echo{}, m.request())
}

// client is a client of all nodes.
func (m *manager) client() *Client {
	m.t.Helper()
	var endpoints []string
	for _, n := range m.nodes {
		endpoints = append(endpoints, n.url)
	}
	c, err := New(endpoints, m.kms())
	must(m.t, err)
	return c
}

// want is the key that the shares make.
func (m *manager) want(id keys.ID) keys.Secret {
	m.t.Helper()
	var parts []keys.Partial
	for _, s := range m.shares {
		p, err := s.Partial(id)
		must(m.t, err)
		parts = append(parts, p)
	}
	sigma, err := keys.Combine(len(m.commitments), parts)
	must(m.t, err)
	k, err := keys.Derive(m.commitments.GroupKey(), id, sigma)
	must(m.t, err)
	return k
}

func (m *manager) check(s *Session) {
	m.t.Helper()
	for _, id := range m.ids() {
		if got, err := s.Key(id); err != nil || got != m.want(id) {
			m.t.Errorf("key %s is wrong (%v)", id, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
