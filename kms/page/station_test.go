package page_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// station is a node that runs until the test ends, with its owner.
type station struct {
	t     *testing.T
	url   string
	made  node.Made
	owner signer.Account
	enc   chain.Encoding
	pki   *emulator.PKI
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStation(t *testing.T) *station {
	t.Helper()
	home := node.Home(filepath.Join(t.TempDir(), "kms"))
	s := &station{t: t}
	var err error
	s.pki, err = emulator.NewPKI(time.Now())
	must(t, err)
	s.made, err = node.Init(home, node.InitOptions{ChainID: "pages-1", TrustRoots: []string{"intel", string(s.pki.RootPEM())}})
	must(t, err)
	s.owner, err = home.Owner()
	must(t, err)
	s.enc, err = chain.NewEncoding()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan node.Running, 1), make(chan error, 1)
	go func() {
		done <- node.Run(ctx, node.Options{
			Home: home, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
			Timing: node.Timing{Commit: 10 * time.Millisecond, Idle: time.Second}, Ready: func(r node.Running) { ready <- r },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	select {
	case r := <-ready:
		s.url = r.API
	case err := <-done:
		done <- nil
		t.Fatalf("the node did not start: %v", err)
	}
	return s
}

// send sends the owner's messages in one transaction.
func (s *station) send(msgs ...sdk.Msg) {
	s.t.Helper()
	var at wire.Account
	must(s.t, wire.Call(s.t.Context(), http.DefaultClient, http.MethodGet, s.url, wire.PathAccounts+"/"+s.owner.Address, nil, &at))
	tx, err := s.owner.Sign(s.t.Context(), s.enc, at, 100_000_000, msgs...)
	must(s.t, err)
	var result wire.TxResult
	must(s.t, wire.Call(s.t.Context(), http.DefaultClient, http.MethodPost, s.url, wire.PathTx, wire.Tx{Tx: tx}, &result))
}

// get reads a page or an answer, as often as the node allows.
func (s *station) get(path string) (status int, h http.Header, body string) {
	s.t.Helper()
	for {
		status, h, body = s.ask(path)
		if status != http.StatusTooManyRequests {
			return status, h, body
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (s *station) ask(path string) (status int, h http.Header, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	must(s.t, err)
	res, err := http.DefaultClient.Do(req)
	must(s.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	must(s.t, err)
	return res.StatusCode, res.Header, string(b)
}

var (
	rootHash = vm.HashOf([]byte("rootfs"))
	launch   = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// config is what a machine of the service name with a compose file measures.
func (s *station) config(name, compose, uid string) vm.Config {
	return vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte(compose)), Service: s.made.Owner + "/" + name,
		KMS:        vm.KMS{ChainID: s.made.ChainID, GroupKey: s.made.GroupKey.String()},
		InstanceID: uid, TLS: "self", Images: "digest", GPU: "none",
	}
}

// image is the message that registers a config.
func (s *station) image(cfg vm.Config, description string) *types.MsgAddImage {
	s.t.Helper()
	template, err := cfg.Template().Canonical()
	must(s.t, err)
	events, err := vm.BootEvents(rootHash, cfg.Template())
	must(s.t, err)
	registers, err := vm.Replay(events)
	must(s.t, err)
	return &types.MsgAddImage{
		Owner: s.made.Owner, Service: cfg.Service, Platforms: []types.Platform{{Tee: "tdx", Mrtd: launch.MRTD[:], Rtmr0: launch.RTMR[0][:], Shape: "2 vCPU 4 GiB"}},
		Rtmr1: launch.RTMR[1][:], Rtmr2: launch.RTMR[2][:], Rtmr3: registers[3][:], RootHash: rootHash[:], Template: template, Description: description,
	}
}

// machine is a booted soft TEE.
type machine struct{ *emulator.Machine }

func (m machine) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return m.Machine.Quote(reportData)
}

// boot asks for a machine's disk key, and returns the refusal if there is one.
func (s *station) boot(cfg vm.Config) error {
	s.t.Helper()
	at := launch
	var err error
	at.MRConfigID, err = cfg.ConfigID()
	must(s.t, err)
	events, err := vm.BootEvents(rootHash, cfg)
	must(s.t, err)
	m, err := emulator.New(s.pki, at)
	must(s.t, err)
	for _, e := range events {
		_, err := m.Extend(e.Register, e.Digest)
		must(s.t, err)
	}
	c, err := client.New([]string{s.url}, cfg.KMS)
	must(s.t, err)
	_, err = c.Release(s.t.Context(), machine{m}, client.Request{Config: cfg, Events: events, Keys: []keys.ID{keys.Disk(cfg.Service, cfg.InstanceID)}})
	return err
}
