package nvidia

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/vm"
)

// now is when the tests of forged evidence take place.
var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// bed is a machine with one GPU below a development PKI, with all that sound
// evidence needs.
type bed struct {
	*nvidiatest.PKI
	gpu   *nvidiatest.Device
	nonce []byte
}

func newBed(t testing.TB) bed {
	t.Helper()
	p := must(nvidiatest.New(now))(t)
	return bed{p, must(p.Device(KindGPU, "GH100"))(t), []byte(strings.Repeat("n", NonceSize))}
}

// must turns an error of the bed itself into the test's end.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// evidence is sound evidence of devices.
func (b bed) evidence(t testing.TB, devices ...*nvidiatest.Device) *vm.GPUEvidence {
	t.Helper()
	ev := &vm.GPUEvidence{Nonce: b.nonce}
	for _, d := range devices {
		ev.Devices = append(ev.Devices, must(d.Evidence(b.nonce, nil))(t))
	}
	ev.RIMs = [][]byte{
		must(b.DriverRIM(nvidiatest.Golden(7, 21, 35)))(t),
		must(b.VBIOSRIM(nvidiatest.Golden(0, 1, 12)))(t),
	}
	ev.OCSP = must(b.Answers(devices...))(t)
	return ev
}

func (b bed) options() Options { return Options{Time: now, Roots: b.Roots()} }

// refused checks that err is a refusal with the code, whose text holds all of
// parts.
func refused(t testing.TB, err error, want vm.Code, parts ...string) {
	t.Helper()
	var r *vm.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v is no refusal, want code %s", err, want)
	}
	text := r.Error() + " " + r.Hint
	if r.Code != want {
		t.Fatalf("refused with %s (%v), want %s", r.Code, err, want)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Fatalf("refusal %q does not say %q", text, part)
		}
	}
}
