package gpu_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/gpu/bringup"
	"github.com/secretvm/secretvm/guest/gpu/nvml"
	"github.com/secretvm/secretvm/guest/gpu/nvml/nvmltest"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// TestMain lets this program be the process.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve serves a machine whose NVML is the library that the settings name.
func serve() error {
	var how string
	if err := ipc.Settings(&how); err != nil {
		return err
	}
	l, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	switch how {
	case "hang":
		time.Sleep(time.Hour)
	case "mumble":
		server := ipc.NewServer(nil)
		ipc.Handle(server, gpu.Evidence, func(context.Context, vm.Hash) (*vm.GPUEvidence, error) {
			return &vm.GPUEvidence{Nonce: []byte{0}}, nil
		})
		return server.Serve(context.Background(), l)
	case "die":
		return errors.New("as it was told")
	}
	return bringup.NewServer(bringup.System{
		Load: func() error { return nil }, Bus: func() (int, error) { return 1, nil }, Nodes: func(int) error { return nil },
		Library: func() (*nvml.Library, error) { return nvml.Open(how) },
		Publish: func(string, []nvml.Device) error { return nil }, Seal: func() error { return nil }, Now: time.Now,
	}).Serve(context.Background(), l)
}

type commands struct{}

func (commands) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (commands) Wait(cmd *exec.Cmd) error  { return cmd.Wait() }

func start(t *testing.T, how string) *gpu.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := gpu.Start(t.Context(), commands{}, ipc.Service{Program: self, Part: "serve", Settings: how}, filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// The whole way: guestd's side, a process, a library of C, a GPU's real evidence.
func TestProcessShowsEvidenceAndThenWorks(t *testing.T) {
	fake := nvmltest.New(t)
	nonce := fake.Record(nvmltest.Recording)
	p := start(t, fake.Path())
	if err := p.Ready(t.Context()); err == nil {
		t.Fatal("ready before it is open")
	}
	summary, err := p.Open(t.Context())
	if err != nil || summary != "1 GPUs, HOPPER, driver 550.163.01" {
		t.Fatalf("%q, %v", summary, err)
	}
	if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "not shown any evidence") {
		t.Errorf("ready before evidence: %v", err)
	}
	ev, err := p.Evidence(t.Context(), nonce)
	if err != nil || len(ev.Devices) != 1 || vm.Hash(ev.Nonce) != nonce {
		t.Fatalf("%+v, %v", ev, err)
	}
	if _, err := p.Evidence(t.Context(), vm.Hash{1}); err == nil || !strings.Contains(err.Error(), "another nonce") {
		t.Errorf("a replayed report: %v", err)
	}
	if err := p.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// A process that does not answer, answers something else, or has ended never
// passes for one that did.
func TestProcessesThatFail(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	hanging := start(t, "hang")
	if _, err := hanging.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}
	hanging.Kill()
	if err := hanging.Ready(t.Context()); err == nil {
		t.Error("one that was given up answers again")
	}
	if _, err := start(t, "mumble").Evidence(t.Context(), vm.Hash{1}); err == nil || !strings.Contains(err.Error(), "another question") {
		t.Errorf("one that answers something else: %v", err)
	}
	if _, err := start(t, "die").Open(t.Context()); err == nil {
		t.Error("one that has ended answers")
	}
	if _, err := gpu.Start(t.Context(), commands{}, ipc.Service{Program: "/nowhere/guest-gpu"}, filepath.Join(t.TempDir(), "socket")); err == nil {
		t.Error("a program that is not there starts")
	}
}

// cpu is a TEE whose quote is its report data.
type cpu struct{ tee.Device }

func (cpu) Quote(_ context.Context, rd [64]byte) (vm.Evidence, error) {
	return vm.Evidence{Quote: rd[:]}, nil
}

// The GPUs are asked over what the quote stands for; a GPU that does not answer
// leaves no quote without it.
func TestQuoterBindsTheNonce(t *testing.T) {
	rd := [64]byte{1, 32: 2, 63: 3}
	var asked vm.Hash
	q := gpu.Quoter{Device: cpu{}, Ask: func(_ context.Context, nonce vm.Hash) (*vm.GPUEvidence, error) {
		asked = nonce
		return &vm.GPUEvidence{Nonce: nonce[:]}, nil
	}}
	ev, err := q.Quote(t.Context(), rd)
	if err != nil || asked != vm.GPUNonce(rd) || ev.GPU == nil || [64]byte(ev.Quote) != rd {
		t.Errorf("asked over %s, evidence %+v, %v", asked, ev, err)
	}
	q.InHalf = true
	if _, err := q.Quote(t.Context(), rd); err != nil || asked != vm.Hash(rd[32:]) {
		t.Errorf("asked over %s, %v; want the second half", asked, err)
	}
	q.Ask = func(context.Context, vm.Hash) (*vm.GPUEvidence, error) { return nil, errors.New("fell off the bus") }
	if _, err := q.Quote(t.Context(), rd); err == nil || !strings.Contains(err.Error(), "fell off the bus") {
		t.Errorf("without an answer of the GPU: %v", err)
	}
}
