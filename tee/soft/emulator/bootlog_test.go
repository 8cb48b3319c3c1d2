package emulator_test

import (
	"context"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/tee/soft"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// TestPredictedIsQuoted: a machine that starts from a prediction quotes it in
// every register, and its log explains them event by event. A1: a log that was
// tampered with on its way is refused.
func TestPredictedIsQuoted(t *testing.T) {
	log, p, err := measure.PredictLog(measure.Input{
		Firmware: ovmftest.Image(ovmftest.Sections()), Kernel: linuxboottest.Kernel(), Initrd: []byte("initrd"),
		CommandLine: "console=ttyS0", Shape: vm.DefaultShape, Profile: measure.EDK2Stable202502(),
	})
	if err != nil {
		t.Fatal(err)
	}
	pki, err := emulator.NewPKI(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	launch := vm.Measurement{MRTD: p.MRTD, RTMR: [4]vm.Register{p.RTMR0, p.RTMR1, p.RTMR2}}
	m, err := emulator.New(pki, launch)
	if err != nil {
		t.Fatal(err)
	}
	m.BootLog = log.CCEL()
	device := soft.NewDevice(func(context.Context) (soft.Conn, error) {
		guest, host := net.Pipe()
		go m.ServeConn(t.Context(), host)
		return guest, nil
	})
	evidence, err := device.Quote(t.Context(), [64]byte{})
	if err != nil {
		t.Fatal(err)
	}
	o := attest.Options{Time: time.Now(), Roots: []*x509.Certificate{pki.Root.Cert}}
	verdict, err := attest.Verify(evidence, o)
	if err != nil {
		t.Fatal(err)
	}
	if verdict.Measurement != launch || len(verdict.BootLog) != len(log) {
		t.Fatalf("%d events explain %+v, want %d and %+v", len(verdict.BootLog), verdict.Measurement, len(log), launch)
	}
	for i, e := range verdict.BootLog {
		if e.Name != log[i].Name || e.Digest != log[i].Digest || e.Register != log[i].Register {
			t.Errorf("event %d is %s in RTMR%d, want %s in RTMR%d", i, e.Name, e.Register, log[i].Name, log[i].Register)
		}
	}
	evidence.BootLog[100] ^= 1 // in the digest of the first event
	if _, err := attest.Verify(evidence, o); vm.CodeOf(err) != vm.CodeEvents {
		t.Errorf("a changed log: %v, want %s", err, vm.CodeEvents)
	}
}
