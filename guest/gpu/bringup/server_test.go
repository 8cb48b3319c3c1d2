package bringup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/gpu/nvml"
	"github.com/secretvm/secretvm/guest/gpu/nvml/nvmltest"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// machine is a machine with a stand-in for NVML and one GPU.
type machine struct {
	*Server
	client *ipc.Client
	fake   *nvmltest.Library
	did    []string // to the system, in order
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{fake: nvmltest.New(t)}
	note := func(what string) error {
		m.did = append(m.did, what)
		return nil
	}
	m.Server = NewServer(System{
		Load:    func() error { return note("load") },
		Bus:     func() (int, error) { return 1, nil },
		Nodes:   func(int) error { return note("nodes") },
		Library: func() (*nvml.Library, error) { _ = note("library"); return m.fake.Open() },
		Publish: func(string, []nvml.Device) error { return note("publish") },
		Seal:    func() error { return note("seal") },
		Now:     func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
	})
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := ipc.Listen(t.Context(), socket, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(ctx, l) }()
	m.client = ipc.Dial(socket, nil)
	t.Cleanup(func() {
		m.client.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return m
}

// question asks the machine one thing.
type question struct {
	name string
	ask  func(context.Context, *ipc.Client) (answer, error)
}

type answer struct {
	Summary  string
	Evidence *vm.GPUEvidence
}

func over(nonce vm.Hash) question {
	return question{gpu.Evidence, func(ctx context.Context, c *ipc.Client) (answer, error) {
		ev, err := ipc.Ask[vm.Hash, *vm.GPUEvidence](ctx, c, gpu.Evidence, nonce)
		return answer{Evidence: ev}, err
	}}
}

var (
	open = question{gpu.Open, func(ctx context.Context, c *ipc.Client) (answer, error) {
		text, err := ipc.Ask[gpu.Nothing, string](ctx, c, gpu.Open, gpu.Nothing{})
		return answer{Summary: text}, err
	}}
	ready = question{gpu.Ready, func(ctx context.Context, c *ipc.Client) (answer, error) {
		_, err := ipc.Ask[gpu.Nothing, gpu.Nothing](ctx, c, gpu.Ready, gpu.Nothing{})
		return answer{}, err
	}}
)

// want asks and compares the error.
func (m *machine) want(t *testing.T, wantErr string, q question) answer {
	t.Helper()
	a, err := q.ask(t.Context(), m.client)
	if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		t.Fatalf("%s: error is %v, want %q", q.name, err, wantErr)
	}
	return a
}

// Drivers, evidence, then work; a verifier finds the evidence genuine.
func TestBringUpInOrder(t *testing.T) {
	m := newMachine(t)
	nonce := m.fake.Record(nvmltest.Recording)
	if a := m.want(t, "", open); a.Summary != "1 GPUs, HOPPER, driver 550.163.01" {
		t.Errorf("summary %q", a.Summary)
	}
	a := m.want(t, "", over(nonce))
	if m.fake.Asked() != nonce.String() {
		t.Errorf("the device was asked over %s, want %s", m.fake.Asked(), nonce)
	}
	if _, err := nvidia.Verify(a.Evidence, nvidia.Options{Time: m.system.Now(), Unchecked: true, Unmeasured: true}); err != nil {
		t.Error(err)
	}
	m.want(t, "", ready)
	if got := strings.Join(m.did, " "); got != "load nodes library seal publish" {
		t.Errorf("did %s", got)
	}
	if accepts, err := m.library.Ready(); err != nil || !accepts {
		t.Errorf("takes work: %v, %v", accepts, err)
	}
}

// G1: a device takes no work before it has proved itself.
func TestG1_NoWorkBeforeEvidence(t *testing.T) {
	m := newMachine(t)
	nonce := m.fake.Record(nvmltest.Recording)
	m.want(t, "no question", ready)
	m.want(t, "no question", over(nonce))
	m.want(t, "", open)
	m.want(t, "have not shown any evidence", ready)
	other := nonce
	other[0] ^= 1
	m.want(t, "another nonce", over(other))
	m.want(t, "have not shown any evidence", ready)
	if accepts, err := m.library.Ready(); err != nil || accepts {
		t.Errorf("takes work: %v, %v", accepts, err)
	}
	m = newMachine(t)
	m.fake.Put("accepting", "1")
	m.want(t, "take work although nobody has judged them", open)
}

// G2: the host chooses the mode of the devices; only one is good enough, now and
// when they are to work.
func TestG2_ModesThatProtectNothing(t *testing.T) {
	for _, tt := range []struct{ file, value, wantErr string }{
		{"feature", "0", "confidential computing is off"},
		{"devtools", "1", "development mode"},
		{"environment", "1", "want 2, production"},
	} {
		m := newMachine(t)
		nonce := m.fake.Record(nvmltest.Recording)
		m.fake.Put(tt.file, tt.value)
		m.want(t, tt.wantErr, open)

		m = newMachine(t)
		m.fake.Record(nvmltest.Recording)
		m.want(t, "", open)
		m.want(t, "", over(nonce))
		m.fake.Put(tt.file, tt.value)
		m.want(t, tt.wantErr, ready)
	}
}

// G3: an answer to another nonce is no evidence, be it old or of somebody else.
func TestG3_ReplayedReport(t *testing.T) {
	m := newMachine(t)
	m.fake.Record(nvmltest.Recording)
	m.want(t, "", open)
	m.want(t, "another nonce", over(vm.GPUNonce([64]byte{1})))
}

// G4: a GPU beside those that prove themselves, or another in the place of one.
func TestG4_OtherGPUs(t *testing.T) {
	m := newMachine(t)
	m.system.Bus = func() (int, error) { return 2, nil }
	m.want(t, "1 of the machine's 2 GPUs", open)
	m = newMachine(t)
	m.system.Bus = func() (int, error) { return 0, nil }
	m.want(t, "0 NVIDIA GPUs", open)
	if len(m.did) > 0 {
		t.Errorf("without a GPU it did %v", m.did)
	}

	m = newMachine(t)
	nonce := m.fake.Record(nvmltest.Recording)
	m.want(t, "", open)
	m.want(t, "", over(nonce))
	m.want(t, "not those of this boot", over(m.fake.Record(nvmltest.OfAnother)))

	m = newMachine(t)
	nonce = m.fake.Record(nvmltest.Recording)
	m.fake.Put("count", "2")
	m.system.Bus = func() (int, error) { return 2, nil }
	m.want(t, "", open)
	m.want(t, "are the same one", over(nonce))
}

// G5: GPUs that talk through switches in the clear are refused, for nothing here
// has the switches prove themselves.
func TestG5_SwitchesWithoutEvidence(t *testing.T) {
	m := newMachine(t)
	nonce := m.fake.Record(nvmltest.Protected)
	m.want(t, "", open)
	m.want(t, "linked with a switch that did not prove itself", over(nonce))
	m.want(t, "have not shown any evidence", ready)
}

func TestServerRefusesNonsense(t *testing.T) {
	m := newMachine(t)
	m.want(t, "404 Not Found", question{"reset", func(ctx context.Context, c *ipc.Client) (answer, error) {
		return ipc.Ask[gpu.Nothing, answer](ctx, c, "reset", gpu.Nothing{})
	}})
	m.want(t, "read question evidence", question{gpu.Evidence, func(ctx context.Context, c *ipc.Client) (answer, error) {
		return ipc.Ask[string, answer](ctx, c, gpu.Evidence, "00")
	}})
	m.system.Load = func() error { return errors.New("exec format error") }
	m.want(t, "load the GPUs' drivers: exec format error", open)
	m.want(t, "no question", ready)
}
