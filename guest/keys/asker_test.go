package keys

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/ipc/ipctest"
	"github.com/secretvm/secretvm/vm"
)

// TestMain is also the process under test, which does what its first endpoint
// says.
func TestMain(m *testing.M) { ipctest.Main(m, Part, pretend) }

// demand is what a process that was taken over asks to have quoted.
var demand = About{BlockHash: vm.Hash{1}, HPKEKey: []byte("chosen by who took it over"), SessionKey: bytes.Repeat([]byte{7}, 32)}

func pretend() error {
	var s Settings
	if err := ipc.Settings(&s); err != nil {
		return err
	}
	l, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	ctx, stop := ipc.UntilStopped()
	defer stop()
	server := ipc.NewServer(nil)
	step := 0
	answer := func(ctx context.Context) (Answer, error) {
		step++
		switch what := s.Endpoints[0]; {
		case what == "refuse":
			return Answer{}, fmt.Errorf("request keys: %w", vm.Refuse(vm.CodeImage, "registers match no image").On("rtmr3", "a", "b"))
		case what == "end", what == "end once" && os.Mkdir(s.Endpoints[1], 0o700) == nil:
			os.Exit(3)
		case what == "hang":
			<-ctx.Done()
			return Answer{}, ctx.Err()
		case step == 1:
			return Answer{Waiting: &Waiting{Text: strings.Repeat("1 of 2 nodes answers ", 100), Said: "nobody there"}}, nil
		case step < 5:
			return Answer{Quote: &demand}, nil
		}
		return Answer{Released: &Released{Generation: 5, Disk: []Secret{bytes.Repeat([]byte{9}, 32)}, Suspects: make([]string, 1000), Voice: Secret("voice")}}, nil
	}
	ipc.Handle(server, AskRelease, func(ctx context.Context, _ struct{}) (Answer, error) { return answer(ctx) })
	ipc.Handle(server, AskOn, func(ctx context.Context, _ Quoted) (Answer, error) { return answer(ctx) })
	ipc.Handle(server, AskAdvance, func(_ context.Context, q Advance) (Answer, error) {
		if string(q.Voice) != "voice" || q.Generation != 6 {
			return Answer{}, errors.New("that is not what I gave")
		}
		return Answer{}, nil
	})
	return server.Serve(ctx, l)
}

type commands struct{}

func (commands) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (commands) Wait(cmd *exec.Cmd) error  { return cmd.Wait() }

// device remembers what it quoted.
type device struct {
	mu  sync.Mutex
	has [][64]byte
	err error
}

func (d *device) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.has = append(d.has, reportData)
	return vm.Evidence{TEE: vm.Soft, Quote: reportData[:], BootLog: []byte("long")}, d.err
}

// heard is what guestd was told.
type heard struct {
	waits []Waiting
	notes []string
}

func newAsker(t *testing.T, d *device, kms vm.KMS, what ...string) (*Asker, *heard) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	a := &Asker{
		Commands: commands{}, Settings: Settings{Endpoints: what}, Program: program, Folder: t.TempDir(),
		Quotes:  NewQuotes(d, vm.Config{KMS: kms, InstanceID: strings.Repeat("ab", 16)}),
		Waiting: func(w Waiting) { h.waits = append(h.waits, w) }, Note: func(n string) { h.notes = append(h.notes, n) },
	}
	t.Cleanup(a.Stop)
	return a, h
}

func TestRelease(t *testing.T) {
	d := &device{}
	a, h := newAsker(t, d, vm.KMS{ChainID: "c-1"}, "")
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := a.Release(t.Context())
	if err != nil || r.Generation != 5 || len(r.Disk) != 1 || r.Disk[0][31] != 9 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(r.Suspects) != maxSuspects {
		t.Errorf("%d suspects, want %d", len(r.Suspects), maxSuspects)
	}
	if len(h.waits) != 1 || len(h.waits[0].Text) != maxText || h.waits[0].Said != "nobody there" {
		t.Errorf("waits %q", h.waits)
	}
	if err := a.Advance(t.Context(), Advance{Voice: r.Voice, Generation: 7}); err == nil || a.process == nil {
		t.Errorf("an error ends the process: %v", err)
	}
	for range 2 { // the second of another process
		if err := a.Advance(t.Context(), Advance{Voice: r.Voice, Generation: 6}); err != nil || a.process != nil {
			t.Errorf("advance: %v", err)
		}
	}
	voice := r.Voice
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "released", r.Voice)
	if text := fmt.Sprintf("%v %+v %x %s", r.Disk, r, voice, voice) + logged.String(); strings.Contains(text, "0909") || strings.Contains(text, "voice") || strings.Contains(text, "9 9") {
		t.Errorf("secrets print: %s", text)
	}
	if r.Wipe(); r.Disk[0][31] != 0 || voice[0] != 0 {
		t.Error("Wipe leaves secrets")
	}
}

func TestRefusalKeepsItsCode(t *testing.T) {
	a, h := newAsker(t, &device{}, vm.KMS{}, "refuse")
	_, err := a.Release(t.Context())
	var r *vm.Refusal
	if !errors.As(err, &r) || r.Code != vm.CodeImage || err.Error() != "request keys: registers match no image: rtmr3 is a, want b [image-not-allowed]" {
		t.Errorf("%v", err)
	}
	if len(h.notes) != 0 {
		t.Errorf("a refusal was asked for again: %q", h.notes)
	}
}

func TestQuoteThatFails(t *testing.T) {
	a, _ := newAsker(t, &device{err: errors.New("no device")}, vm.KMS{}, "")
	if _, err := a.Release(t.Context()); err == nil || err.Error() != "request keys: make a quote: no device" {
		t.Errorf("%v", err)
	}
}

// TestProcessThatEnds: one end leaves nothing decided, so that another process is
// asked; one that always ends is said to.
func TestProcessThatEnds(t *testing.T) {
	a, h := newAsker(t, &device{}, vm.KMS{}, "end once", filepath.Join(t.TempDir(), "ended"))
	if r, err := a.Release(t.Context()); err != nil || r.Generation != 5 {
		t.Errorf("%v", err)
	}
	if len(h.notes) != 1 || h.notes[0] != "the process that asks the key manager ended: exit status 3; starting it again" {
		t.Errorf("notes %q", h.notes)
	}
	a, h = newAsker(t, &device{}, vm.KMS{}, "end")
	_, err := a.Release(t.Context())
	if err == nil || err.Error() != "the process that asks the key manager ended: exit status 3 (5 times in a row)" || len(h.notes) != maxEnds-1 {
		t.Errorf("%v, notes %q", err, h.notes)
	}
	a.Program = filepath.Join(t.TempDir(), "none")
	if _, err := a.Release(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// TestNobodyWaits: what works on when its question was given up is ended.
func TestNobodyWaits(t *testing.T) {
	a, _ := newAsker(t, &device{}, vm.KMS{}, "hang")
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	running := a.process.running
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := a.Release(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	select {
	case <-running.Done():
	case <-time.After(10 * time.Second):
		t.Error("it works on")
	}
}

// TestK11_QuotesAreForReleasesAlone: a process that was taken over, whatever it
// asks to have quoted, gets quotes in which this machine asks its own key manager
// for keys, and never one that stands for something else.
func TestK11_QuotesAreForReleasesAlone(t *testing.T) {
	d := &device{}
	a, _ := newAsker(t, d, vm.KMS{ChainID: "c-1"}, "")
	if _, err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(d.has) != 3 {
		t.Fatalf("%d quotes", len(d.has))
	}
	want := vm.Release{ChainID: "c-1", BlockHash: demand.BlockHash, InstanceID: strings.Repeat("ab", 16), HPKEKey: demand.HPKEKey, SessionKey: demand.SessionKey}.ReportData()
	for _, got := range d.has {
		if got != want {
			t.Errorf("a quote about %x, want %x", got, want)
		}
	}
	// Fields that were meant to be another purpose's are fields of a release.
	spki, nonce := vm.Hash{2}, bytes.Repeat([]byte{3}, 32)
	others := map[[64]byte]string{
		vm.AttestationReportData(spki, nonce):                    "attestation",
		vm.ExporterReportData(spki, nonce, nonce):                "attestation of a connection",
		vm.WorkloadReportData(nonce):                             "workload",
		vm.ApplicationReportData(vm.Register{4}, nonce):          "application",
		vm.SigningReportData(nonce):                              "signing",
		[64]byte(append(append([]byte{}, spki[:]...), nonce...)): "existing verifiers' certificate",
	}
	for _, q := range []About{
		{}, {BlockHash: spki, HPKEKey: nonce, SessionKey: nonce}, {BlockHash: spki, SessionKey: nonce}, {BlockHash: spki, HPKEKey: append(spki[:], nonce...)},
	} {
		quoted, err := a.Quotes.quote(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if other, is := others[[64]byte(quoted.Evidence.Quote)]; is {
			t.Errorf("%+v is quoted as %s", q, other)
		}
		if quoted.Evidence.BootLog != nil || quoted.Key != nil {
			t.Error("more was given than was asked for")
		}
	}
}

// TestK11_KeyOfAContractIsNotChosen: the contract of existing machines is shown a
// quote without a label, so the key in it is guestd's choice.
func TestK11_KeyOfAContractIsNotChosen(t *testing.T) {
	d := &device{}
	a, _ := newAsker(t, d, vm.KMS{Provider: vm.ProviderSecretNetwork}, "")
	if _, err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[[32]byte]bool{}
	for _, got := range d.has {
		if seen[[32]byte(got[:32])] || bytes.Contains(got[:], demand.SessionKey[:8]) {
			t.Errorf("the process chose %x", got)
		}
		seen[[32]byte(got[:32])] = true
		if got[32] != 0xab || got[47] != 0xab || got[48] != 0 {
			t.Errorf("%x is of another machine", got)
		}
	}
	quoted, err := a.Quotes.quote(t.Context(), demand)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdh.X25519().NewPrivateKey(quoted.Key)
	if err != nil || !bytes.Equal(private.PublicKey().Bytes(), quoted.Evidence.Quote[:32]) {
		t.Errorf("the quote is not about the key that comes with it: %v", err)
	}
}
