package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

const uid = "00112233445566778899aabbccddeeff"

// fast makes blocks as quickly as a test wants them.
var fast = Timing{Commit: 10 * time.Millisecond, Idle: time.Second}

// station is one running node with its development PKI and everything it logs.
type station struct {
	home  Home
	made  Made
	pki   *emulator.PKI
	url   string
	logs  *lockedBuffer
	stop  func() error
	mates []*station // the other nodes of a chain of many
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newStation makes a home and runs its node until the test ends.
func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{home: Home(filepath.Join(t.TempDir(), "kms")), logs: &lockedBuffer{}}
	var err error
	s.pki, err = emulator.NewPKI(time.Now())
	must(t, err)
	s.made, err = Init(s.home, InitOptions{ChainID: "secretvm-test-1", TrustRoots: []string{string(s.pki.RootPEM())}})
	must(t, err)
	s.start(t)
	return s
}

func (s *station) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan Running, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			Home: s.home, Listen: "127.0.0.1:0", Timing: fast, Log: slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Ready: func(r Running) { ready <- r },
		})
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = s.stop() })
	select {
	case r := <-ready:
		s.url = r.API
	case err := <-done:
		t.Fatalf("the node stopped: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatalf("the node made no block in 30 s: %s", s.logs)
	}
}

// send sends a transaction as the local owner.
func (s *station) send(t *testing.T, msg sdk.Msg) error {
	t.Helper()
	owner, err := s.home.Owner()
	must(t, err)
	encoding, err := chain.NewEncoding()
	must(t, err)
	var at wire.Account
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, s.url, wire.PathAccounts+"/"+owner.Address, nil, &at))
	tx, err := owner.Sign(t.Context(), encoding, at, 10_000_000, msg)
	must(t, err)
	var result wire.TxResult
	return wire.Call(t.Context(), http.DefaultClient, http.MethodPost, s.url, wire.PathTx, wire.Tx{Tx: tx}, &result)
}

var (
	root   = vm.HashOf([]byte("rootfs"))
	launch = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// service registers web with the image of the returned config.
func (s *station) service(t *testing.T) vm.Config {
	t.Helper()
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: s.made.Owner + "/web",
		KMS:        vm.KMS{ChainID: s.made.ChainID, GroupKey: s.made.GroupKey.String()},
		InstanceID: uid, TLS: "self", Images: "digest", GPU: "none",
	}
	must(t, s.send(t, &types.MsgCreateService{Owner: s.made.Owner, Name: "web"}))
	s.image(t, cfg)
	return cfg
}

// image adds the image of a config to its service.
func (s *station) image(t *testing.T, cfg vm.Config) {
	t.Helper()
	template, err := cfg.Template().Canonical()
	must(t, err)
	events, err := vm.BootEvents(root, cfg.Template())
	must(t, err)
	registers, err := vm.Replay(events)
	must(t, err)
	must(t, s.send(t, &types.MsgAddImage{
		Owner: s.made.Owner, Service: cfg.Service, Platforms: []types.Platform{{Tee: "tdx", Mrtd: launch.MRTD[:], Rtmr0: launch.RTMR[0][:]}}, Rtmr1: launch.RTMR[1][:],
		Rtmr2: launch.RTMR[2][:], Rtmr3: registers[3][:], RootHash: root[:], Template: template,
	}))
}

// quoter is a booted soft TEE.
type quoter struct{ *emulator.Machine }

func (q quoter) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return q.Machine.Quote(reportData)
}

// boot starts a machine that measured cfg, and says what it asks for.
func (s *station) boot(t *testing.T, cfg vm.Config) (quoter, client.Request) {
	t.Helper()
	at := launch
	var err error
	at.MRConfigID, err = cfg.ConfigID()
	must(t, err)
	events, err := vm.BootEvents(root, cfg)
	must(t, err)
	m, err := emulator.New(s.pki, at)
	must(t, err)
	for _, e := range events {
		_, err := m.Extend(e.Register, e.Digest)
		must(t, err)
	}
	env := keys.ID{Service: cfg.Service, Scope: keys.ScopeService, Name: "env"}
	return quoter{m}, client.Request{Config: cfg, Events: events, Keys: []keys.ID{keys.Disk(cfg.Service, cfg.InstanceID), env}}
}

// disk boots a machine and returns its disk key.
func (s *station) disk(t *testing.T, cfg vm.Config) (*client.Session, keys.Secret) {
	t.Helper()
	endpoints := []string{s.url}
	for _, mate := range s.mates {
		endpoints = append(endpoints, mate.url)
	}
	c, err := client.New(endpoints, cfg.KMS)
	must(t, err)
	q, request := s.boot(t, cfg)
	session, err := c.Release(t.Context(), q, request)
	must(t, err)
	key, err := session.Key(request.Keys[0])
	must(t, err)
	return session, key
}

// TestMachineGetsItsKeys goes the whole way, three boots and a restart long.
func TestMachineGetsItsKeys(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	start := time.Now()
	session, first := s.disk(t, cfg)
	t.Logf("release and key: %s", time.Since(start))
	if g := session.Grant(); g.Generation != 0 || g.Service != cfg.Service || g.Anchor.Intel {
		t.Errorf("grant is %+v", g)
	}
	if first.IsZero() || len(session.Suspects()) != 0 {
		t.Errorf("key is zero: %t; suspects %v", first.IsZero(), session.Suspects())
	}
	must(t, session.Advance(t.Context(), 1))
	must(t, session.Advance(t.Context(), 1)) // an answer may get lost
	if err := session.Advance(t.Context(), 3); err == nil {
		t.Error("a generation was skipped")
	}
	other := cfg
	other.InstanceID = strings.Repeat("5", 32)
	if _, key := s.disk(t, other); key == first {
		t.Error("two machines have one disk key")
	}

	must(t, s.stop())
	s.start(t)
	session, again := s.disk(t, cfg)
	if again != first || session.Grant().Generation != 1 {
		t.Errorf("after a restart: same key %t, generation %d, want the same and 1", again == first, session.Grant().Generation)
	}
	session.Close()
	if k, err := session.Key(keys.Disk(cfg.Service, uid)); err == nil {
		t.Errorf("a closed session still has keys: %v", k)
	}

	// Neither share nor keys are in anything that was logged.
	share, err := os.ReadFile(s.home.share(0, 0))
	must(t, err)
	var file shareFile
	must(t, json.Unmarshal(share, &file))
	for _, secret := range []string{file.Scalar, hex.EncodeToString(first.Bytes())} {
		if strings.Contains(s.logs.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// TestB2_RefusalReachesMachineAndOwner: another compose file gets no key, and
// the reason is in the machine's answer and on the ledger.
func TestB2_RefusalReachesMachineAndOwner(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	cfg.ComposeHash = vm.HashOf([]byte("evil"))
	c, err := client.New([]string{s.url}, cfg.KMS)
	must(t, err)
	q, request := s.boot(t, cfg)
	_, err = c.Release(t.Context(), q, request)
	if vm.CodeOf(err) != vm.CodeCompose || !strings.Contains(err.Error(), cfg.ComposeHash.String()) {
		t.Fatalf("error is %v, want the compose file refused by its digest", err)
	}
	var log wire.Log
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, s.url, wire.PathServices+"/"+cfg.Service+"/log", nil, &log))
	if len(log.Grants) != 0 || len(log.Refusals) != 1 || log.Refusals[0].Code != vm.CodeCompose || log.Refusals[0].InstanceID != uid {
		t.Errorf("log is %+v", log)
	}
}

// TestPartialsOnlyForTheGrant: a node answers for committed grants and the keys
// that they name, while they are young.
func TestPartialsOnlyForTheGrant(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	session, _ := s.disk(t, cfg)
	grant := session.Grant()
	disk := keys.Disk(cfg.Service, uid)
	for _, tt := range []struct {
		name    string
		request any
		want    vm.Code
	}{
		{"granted", wire.PartialsRequest{Grant: grant.ID, Keys: []keys.ID{disk}}, ""},
		{"no such grant", wire.PartialsRequest{Grant: vm.Hash{1}, Keys: []keys.ID{disk}}, vm.CodePermission},
		{"key not asked for", wire.PartialsRequest{Grant: grant.ID, Keys: []keys.ID{{Service: cfg.Service, Scope: keys.ScopeService, Name: "tls"}}}, vm.CodePermission},
		{"another machine's", wire.PartialsRequest{Grant: grant.ID, Keys: []keys.ID{keys.Disk(cfg.Service, strings.Repeat("6", 32))}}, vm.CodePermission},
		{"another service's", wire.PartialsRequest{Grant: grant.ID, Keys: []keys.ID{keys.Disk(s.made.Owner+"/other", uid)}}, vm.CodePermission},
		{"no keys", wire.PartialsRequest{Grant: grant.ID}, vm.CodeMalformed},
		{"too many keys", wire.PartialsRequest{Grant: grant.ID, Keys: make([]keys.ID, types.MaxKeys+1)}, vm.CodeMalformed},
		{"unknown field", map[string]any{"grant": grant.ID, "keyz": 1}, vm.CodeMalformed},
		{"not an object", "x", vm.CodeMalformed},
		{"too large", map[string]any{"grant": strings.Repeat("a", wire.MaxRequest)}, vm.CodeTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var answer wire.Partials
			err := wire.Call(t.Context(), http.DefaultClient, http.MethodPost, s.url, wire.PathPartials, tt.request, &answer)
			if tt.want == "" {
				must(t, err)
				return
			}
			if err == nil || vm.CodeOf(err) != tt.want {
				t.Fatalf("error is %v, want %s", err, tt.want)
			}
		})
	}
	t.Run("old grant", func(t *testing.T) {
		g := types.Grant{Service: cfg.Service, VmUid: uid, Keys: types.FromIDs([]keys.ID{disk}), Time: time.Now().Add(-time.Hour).Unix()}
		if err := mayHave(g, []keys.ID{disk}, types.DefaultParams(), time.Now()); vm.CodeOf(err) != vm.CodeExpired {
			t.Errorf("error is %v, want %s", err, vm.CodeExpired)
		}
	})
}

// TestManyMachinesAtOnce: releases that arrive together all get into blocks,
// although one relay account signs for all of them.
func TestManyMachinesAtOnce(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			machine := cfg
			machine.InstanceID = fmt.Sprintf("%032x", i+1)
			c, err := client.New([]string{s.url}, cfg.KMS)
			if err != nil {
				t.Error(err)
				return
			}
			q, request := s.boot(t, machine)
			if _, err := c.Release(t.Context(), q, request); err != nil {
				t.Errorf("machine %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestInitKeepsWhatIsThere(t *testing.T) {
	home := Home(t.TempDir())
	_, err := Init(home, InitOptions{ChainID: "a"})
	must(t, err)
	before, err := os.ReadFile(home.share(0, 0))
	must(t, err)
	if _, err := Init(home, InitOptions{ChainID: "b"}); vm.CodeOf(err) != vm.CodeExists {
		t.Errorf("error is %v, want %s", err, vm.CodeExists)
	}
	if after, _ := os.ReadFile(home.share(0, 0)); !bytes.Equal(before, after) {
		t.Error("the share was replaced")
	}
	for _, path := range []string{home.share(0, 0), home.sealing(), home.owner(), home.relay(), filepath.Join(string(home), "config", "priv_validator_key.json")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", path, info, err)
		}
	}
	for _, bad := range []InitOptions{{ChainID: ""}, {ChainID: "a b"}, {ChainID: "ok", TrustRoots: []string{"no certificate"}}} {
		if _, err := Init(Home(t.TempDir()), bad); vm.CodeOf(err) != vm.CodeInvalid {
			t.Errorf("%+v: error is %v, want %s", bad, err, vm.CodeInvalid)
		}
	}
}

// TestDamagedHomes: a node whose secrets are wrong, or open to others, says so
// at start and touches nothing.
func TestDamagedHomes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		damage  func(Home) error
		wantErr string
	}{
		{"home of an older kmsd", func(h Home) error {
			b, err := os.ReadFile(h.genesis())
			if err != nil {
				return err
			}
			return os.WriteFile(h.genesis(), bytes.Replace(b, []byte(`"committee"`), []byte(`"group"`), 1), 0o600)
		}, "older kmsd"},
		{"no genesis", func(h Home) error { return os.Remove(h.genesis()) }, "kmsd init"},
		{"share of another group", func(h Home) error {
			c, shares, err := keys.Split(bytes.NewReader(bytes.Repeat([]byte{3}, 64)), 1, 1)
			if err != nil {
				return err
			}
			return h.writeShare(shares[0], committee.Group{Commitments: [][]byte{c.GroupKey().Bytes()}})
		}, "committed polynomial"},
		{"share cut short", func(h Home) error { return os.Truncate(h.share(0, 0), 20) }, "not what a node writes"},
		{"share open to others", func(h Home) error { return os.Chmod(h.share(0, 0), 0o644) }, "chmod 600"},
		{"relay key open to others", func(h Home) error { return os.Chmod(h.relay(), 0o640) }, "chmod 600"},
		{"no relay key", func(h Home) error { return os.Remove(h.relay()) }, "relay.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := Home(t.TempDir())
			_, err := Init(home, InitOptions{ChainID: "a"})
			must(t, err)
			must(t, tt.damage(home))
			err = Run(t.Context(), Options{Home: home, Listen: "127.0.0.1:0", Timing: fast, Log: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// TestA6_RequestsAreBounded: one address cannot take the node's time, and what
// is over the limit is told so.
func TestA6_RequestsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	block := make(chan struct{})
	l := newLimiter(1, 3, 2, func() time.Time { return now })
	served := l.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-block
		}
		w.WriteHeader(http.StatusOK)
	}))
	ask := func(address, path string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		served.ServeHTTP(w, r)
		return w.Code
	}
	for i, want := range []int{200, 200, 200, 429} {
		if got := ask("10.0.0.1:1", "/"); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	if got := ask("10.0.0.2:1", "/"); got != 200 {
		t.Errorf("another address: %d, want 200", got)
	}
	now = now.Add(time.Second)
	if got := ask("10.0.0.1:2", "/"); got != 200 {
		t.Errorf("a second later: %d, want 200", got)
	}
	var wg sync.WaitGroup
	for _, address := range []string{"10.0.0.3:1", "10.0.0.4:1"} {
		wg.Go(func() { ask(address, "/slow") })
	}
	for deadline := time.Now().Add(5 * time.Second); len(l.slots) < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := ask("10.0.0.5:1", "/"); got != 503 {
		t.Errorf("while two slow requests are served: %d, want 503", got)
	}
	close(block)
	wg.Wait()
}

func TestOwnerTransactionsAreChecked(t *testing.T) {
	s := newStation(t)
	s.service(t)
	if err := s.send(t, &types.MsgCreateService{Owner: s.made.Owner, Name: "web"}); vm.CodeOf(err) != vm.CodeExists {
		t.Errorf("service again: %v, want %s", err, vm.CodeExists)
	}
	var result wire.TxResult
	if err := wire.Call(t.Context(), http.DefaultClient, http.MethodPost, s.url, wire.PathTx, wire.Tx{Tx: []byte("junk")}, &result); vm.CodeOf(err) != vm.CodeInvalid {
		t.Errorf("junk: %v, want %s", err, vm.CodeInvalid)
	}
	stranger, err := signer.New()
	must(t, err)
	var account wire.Account
	if err := wire.Call(t.Context(), http.DefaultClient, http.MethodGet, s.url, wire.PathAccounts+"/"+stranger.Address, nil, &account); vm.CodeOf(err) != vm.CodePermission {
		t.Errorf("stranger: %v, want %s", err, vm.CodePermission)
	}
	for path, want := range map[string]vm.Code{
		wire.PathServices + "/" + s.made.Owner + "/nothing": vm.CodeNoService, wire.PathGrants + "/zz": vm.CodeMalformed,
	} {
		var v any
		if err := wire.Call(t.Context(), http.DefaultClient, http.MethodGet, s.url, path, nil, &v); vm.CodeOf(err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
