package emulator_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/tee/soft"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

func launch() vm.Measurement {
	return vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}, MRConfigID: vm.Register{5}}
}

// TestGuestTalksToEmulator goes the guest's whole way over a socket: read,
// extend, quote, and the verifier's answer to that quote.
func TestGuestTalksToEmulator(t *testing.T) {
	pki, err := emulator.LoadOrCreatePKI(filepath.Join(t.TempDir(), "pki"))
	if err != nil {
		t.Fatal(err)
	}
	machine, err := emulator.New(pki, launch())
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "tee.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- machine.Serve(ctx, listener) }()

	var open soft.Conn
	dial := func(context.Context) (conn soft.Conn, err error) {
		open, err = net.Dial("unix", socket)
		return open, err
	}
	device := soft.NewDevice(dial)
	if found, err := device.Read(ctx); err != nil || found != launch() {
		t.Fatalf("Read = %+v, %v, want the launch registers", found, err)
	}
	events := []vm.Event{vm.RuntimeEvent("compose-hash", []byte("x")), vm.RuntimeEvent(vm.EventBootComplete, nil)}
	for _, e := range events {
		if err := device.Extend(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	// Another connection of the same boot: the registers stay.
	open.Close()
	device = soft.NewDevice(dial)
	evidence, err := device.Quote(ctx, [64]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	evidence.Events = events
	verdict, err := attest.Verify(evidence, attest.Options{Time: time.Now(), Roots: []*x509.Certificate{pki.Root.Cert}})
	if err != nil {
		t.Fatal(err)
	}
	want := launch()
	replayed, _ := vm.Replay(events)
	want.RTMR[3] = replayed[3]
	if verdict.Measurement != want || verdict.ReportData[0] != 9 || verdict.TEE != vm.Soft || verdict.Anchor.Intel {
		t.Errorf("verdict = %+v, want soft evidence of %+v", verdict, want)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v after cancel", err)
	}
}

func TestExtendOnlyRTMR3(t *testing.T) {
	pki, err := emulator.NewPKI(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	machine, err := emulator.New(pki, launch())
	if err != nil {
		t.Fatal(err)
	}
	for register := -1; register <= 4; register++ {
		if _, err := machine.Extend(register, vm.Register{7}); (err == nil) != (register == 3) {
			t.Errorf("Extend(%d) = %v", register, err)
		}
	}
	if got := machine.Read(); got.RTMR[0] != launch().RTMR[0] || got.RTMR[3].IsZero() {
		t.Errorf("registers after extend: %+v", got)
	}
}

// TestPKIFolder loads the same PKI again, whoever was first to make it, and
// keeps its keys private.
func TestPKIFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "pki")
	var group sync.WaitGroup
	roots := make([]vm.Hash, 4)
	for i := range roots {
		group.Go(func() {
			pki, err := emulator.LoadOrCreatePKI(dir)
			if err != nil {
				t.Error(err)
				return
			}
			roots[i] = vm.HashOf(pki.Root.Cert.Raw)
		})
	}
	group.Wait()
	for _, root := range roots {
		if root != roots[0] {
			t.Fatalf("four processes made different roots: %v", roots)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 9 {
		t.Fatalf("PKI folder has %d entries, %v, want 9", len(entries), err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(0o644)
		if matched, _ := filepath.Match("*-key.pem", e.Name()); matched {
			want = 0o600
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", e.Name(), info.Mode(), want)
		}
	}
	siblings, _ := os.ReadDir(filepath.Dir(dir))
	if len(siblings) != 1 {
		t.Errorf("%d entries beside the PKI folder, want none left over", len(siblings)-1)
	}
}

func TestPKIFolderDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := emulator.LoadOrCreatePKI(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "pck-key.pem")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, emulator.RootFile))
	if _, err := emulator.LoadOrCreatePKI(dir); err == nil {
		t.Error("half a PKI was loaded")
	}
	if after, _ := os.ReadFile(filepath.Join(dir, emulator.RootFile)); string(after) != string(before) {
		t.Error("half a PKI was replaced")
	}
}

// TestKeysPrintRedacted holds for every verb a log might use.
func TestKeysPrintRedacted(t *testing.T) {
	pki, err := emulator.NewPKI(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secret := pki.Root.Key.D.String()
	hex := pki.Root.Key.D.Text(16)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, value := range []any{pki.Root.Key, pki.Root} {
			if text := fmt.Sprintf(verb, value); contains(text, secret, hex) {
				t.Errorf("%s of %T shows the key", verb, value)
			}
		}
	}
}

func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
