package nvml_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/guest/gpu/nvml"
	"github.com/secretvm/secretvm/guest/gpu/nvml/nvmltest"
)

// The binding reads what C wrote, and C what the binding wrote.
func TestLibraryOfC(t *testing.T) {
	fake := nvmltest.New(t)
	nonce := fake.Record(nvmltest.Recording)
	fake.Put("count", "2")
	l, err := fake.Open()
	if err != nil {
		t.Fatal(err)
	}
	driver, err := l.Driver()
	state, err2 := l.State()
	devices, err3 := l.Devices()
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if driver != "550.163.01" || state != (nvml.State{Environment: nvml.EnvironmentProduction, Feature: nvml.FeatureEnabled}) {
		t.Errorf("driver %q in %+v", driver, state)
	}
	if len(devices) != 2 || devices[1].Minor != 1 || devices[1].UUID != "GPU-00000000-0000-0000-0000-000000000001" || devices[1].Architecture != "HOPPER" {
		t.Fatalf("devices %+v", devices)
	}
	chain, err := devices[1].Certificates()
	if err != nil || !bytes.HasPrefix(chain, []byte("-----BEGIN CERTIFICATE-----")) || bytes.Count(chain, []byte("-----END CERTIFICATE-----")) != 5 {
		t.Errorf("chain of %d bytes, %v", len(chain), err)
	}
	report, err := devices[1].Report(nonce)
	if err != nil || !bytes.Equal(report[4:36], nonce[:]) || fake.Asked() != nonce.String() { // SPDM: four bytes, then the nonce
		t.Errorf("report %.40x, asked %s, %v; want one over %s", report, fake.Asked(), err, nonce)
	}
	if ready, err := l.Ready(); err != nil || ready {
		t.Errorf("ready %v, %v before it was said", ready, err)
	}
	if err := l.SetReady(); err != nil {
		t.Fatal(err)
	}
	if ready, err := l.Ready(); err != nil || !ready {
		t.Errorf("ready %v, %v after it was said", ready, err)
	}
}

func TestLibraryThatIsNone(t *testing.T) {
	if _, err := nvml.Open("libnvidia-ml-of-nobody.so.1"); err == nil || !strings.Contains(err.Error(), "libnvidia-ml-of-nobody.so.1") {
		t.Errorf("a library that is not there: %v", err)
	}
	fake := nvmltest.New(t)
	fake.Put("init", "9")
	if _, err := fake.Open(); err == nil || !strings.Contains(err.Error(), "Driver Not Loaded (NVML 9)") {
		t.Errorf("without a driver: %v", err)
	}
	if _, err := nvml.Open("libm.so.6"); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("a library without the functions: %v", err)
	}
}
