package release_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/ipc/ipctest"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/guest/keys/release"
	threshold "github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/kmstest"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// TestMain is also the process under test.
func TestMain(m *testing.M) { ipctest.Main(m, keys.Part, release.Run) }

type commands struct{}

func (commands) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (commands) Wait(cmd *exec.Cmd) error  { return cmd.Wait() }

// chain is a real key manager of one node.
type chain struct {
	*kmstest.Station
	pki *emulator.PKI
}

func newChain(t *testing.T) *chain {
	t.Helper()
	pki, err := emulator.NewPKI(time.Now())
	must(t, err)
	return &chain{kmstest.Start(t, node.InitOptions{ChainID: "keys-1", TrustRoots: []string{"intel", string(pki.RootPEM())}}), pki}
}

func (c *chain) config(compose string, instance int) vm.Config {
	cfg := kmstest.Config(c.Made.Owner+"/web", compose, kmstest.Instance(instance), vm.KMS{ChainID: c.Made.ChainID, GroupKey: c.Made.GroupKey.String()})
	cfg.API = vm.API{"web": {"key/wallet/alice", "sign/ed25519"}}
	return cfg
}

// boot is guestd of a machine, and what it was told.
func (c *chain) boot(t *testing.T, cfg vm.Config, endpoints ...string) (*keys.Asker, *[]string) {
	t.Helper()
	m, err := kmstest.Boot(c.pki, cfg)
	must(t, err)
	return asker(t, m, cfg, m.Request.Events, endpoints...)
}

type quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

func asker(t *testing.T, device quoter, cfg vm.Config, events []vm.Event, endpoints ...string) (*keys.Asker, *[]string) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	canonical, err := cfg.Canonical()
	must(t, err)
	told := &[]string{}
	a := &keys.Asker{
		Commands: commands{}, Program: program, Folder: t.TempDir(), Quotes: keys.NewQuotes(device, cfg),
		Settings: keys.Settings{Endpoints: endpoints, Config: canonical, Events: events},
		Waiting:  func(w keys.Waiting) { *told = append(*told, w.Text+" | "+w.Said) }, Note: func(s string) { *told = append(*told, s) },
	}
	t.Cleanup(a.Stop)
	return a, told
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeysOfAMachine: a machine whose keys come through the process gets the same
// at each boot and others than its neighbour, the chain counts what its disk is
// told to be, whichever process tells it, and refusals keep their words.
func TestKeysOfAMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a chain")
	}
	c := newChain(t)
	cfg := c.config("services: {}", 1)
	image, err := kmstest.Image(c.Made.Owner, cfg)
	must(t, err)
	c.Send(&types.MsgCreateService{Owner: c.Made.Owner, Name: "web"}, image)

	var boots []*keys.Released
	for generation := range uint64(2) {
		a, told := c.boot(t, cfg, c.API)
		r, err := a.Release(t.Context())
		must(t, err)
		if r.Generation != generation*2 || len(r.Disk) != 1 || len(r.Disk[0]) != 32 || len(r.Named) != 2 || r.Environ != nil || r.Registry != nil || len(*told) != 0 {
			t.Fatalf("generation %d, %d disk keys, %d others, told %q", r.Generation, len(r.Disk), len(r.Named), *told)
		}
		if ago := time.Since(r.Block); r.Offered < r.Heard || r.Heard < 0 || ago < r.Heard-time.Minute || ago > r.Offered+time.Minute {
			t.Errorf("block %v ago, offered %v and heard %v", ago, r.Offered, r.Heard)
		}
		for n := range uint64(2) { // the second by a process of its own
			must(t, a.Advance(t.Context(), keys.Advance{Voice: r.Voice, Generation: r.Generation + 1 + n, Wait: n == 0}))
		}
		err = a.Advance(t.Context(), keys.Advance{Voice: r.Voice, Generation: r.Generation + 9})
		if vm.CodeOf(err) != vm.CodeInvalid || !strings.HasPrefix(err.Error(), fmt.Sprintf("advance the disk to generation %d: ", r.Generation+9)) {
			t.Errorf("a generation far ahead: %v", err)
		}
		boots = append(boots, r)
	}
	if !bytes.Equal(boots[0].Disk[0], boots[1].Disk[0]) || !bytes.Equal(boots[0].Named[0].Key, boots[1].Named[0].Key) || bytes.Equal(boots[0].Voice, boots[1].Voice) {
		t.Error("two boots do not have the same keys, or have one voice")
	}
	names := []string{boots[0].Named[0].Name, boots[0].Named[1].Name}
	if !slices.Equal(names, []string{"key/wallet", "sign/ed25519"}) || bytes.Equal(boots[0].Named[0].Key, boots[0].Disk[0]) {
		t.Errorf("keys named %q", names)
	}
	neighbour, _ := c.boot(t, c.config("services: {}", 2), c.API)
	r, err := neighbour.Release(t.Context())
	must(t, err)
	if bytes.Equal(r.Disk[0], boots[0].Disk[0]) || !bytes.Equal(r.Named[0].Key, boots[0].Named[0].Key) {
		t.Error("neighbours share their disk's key, or not what is the service's")
	}
	changed, _ := c.boot(t, c.config("services: {evil: {}}", 1), c.API)
	if _, err := changed.Release(t.Context()); vm.CodeOf(err) != vm.CodeCompose || !strings.HasPrefix(err.Error(), "request keys: ") {
		t.Errorf("another compose file: %v", err)
	}
}

// TestWaiting: a key manager that cannot decide is waited for, in its words, until
// who asks gives up.
func TestWaiting(t *testing.T) {
	none := httptest.NewServer(http.NotFoundHandler())
	none.Close()
	echo := quoteFunc(func(reportData [64]byte) vm.Evidence {
		return vm.Evidence{TEE: vm.SNP, Quote: reportData[:], AMD: &vm.AMDCollateral{
			EndorsementKey: []byte("der"), Chain: []byte("-----BEGIN CERTIFICATE-----\nYXNr\n-----END CERTIFICATE-----\n"),
		}}
	})
	group, _, err := threshold.Split(rand.Reader, 1, 1)
	must(t, err)
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(t, err)
	for name, tt := range map[string]struct {
		service string
		kms     vm.KMS
		want    string
	}{
		"chain": {"svm1owner/web", vm.KMS{ChainID: "keys-1", GroupKey: group.GroupKey().String()}, "0 of 1 nodes answer; next try in 1s | node " + none.URL + " does not answer"},
		"contract": {"secret1w500qy39wtwaghwn9e5qu5sx23k2xtjfkj20as/web", vm.KMS{ChainID: "secret-4", Provider: vm.ProviderSecretNetwork, Contract: &vm.Contract{
			CodeHash: strings.Repeat("0", 64), ConsensusKey: hex.EncodeToString(private.PublicKey().Bytes()),
		}}, "0 of 1 nodes answer, 1 needed; next try in 1s | node " + none.URL + ": it does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := kmstest.Config(tt.service, "services: {}", kmstest.Instance(1), tt.kms)
			a, told := asker(t, echo, cfg, nil, none.URL)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := a.Release(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if len(*told) == 0 || !strings.HasPrefix((*told)[0], tt.want) {
				t.Errorf("told %q, want %q", *told, tt.want)
			}
		})
	}
}

type quoteFunc func([64]byte) vm.Evidence

func (f quoteFunc) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return f(reportData), nil
}
