package measure

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
)

// The log of a real machine that QEMU booted directly, byte for byte. What the
// kernel, its options and the ACPI tables were is known by digest only; where
// the kernel lay in memory not at all.
func TestCCELEqualsARealLog(t *testing.T) {
	real := vector(t, "trustee/CCEL_data_ovmf")
	var parsed struct {
		Events []struct {
			Index   int
			Digests []struct{ Digest vm.Register }
		} `json:"uefi_event_logs"`
	}
	vectorJSON(t, "trustee/CCEL_data_ovmf_out.json", &parsed)
	var d [4][]vm.Register
	for _, e := range parsed.Events {
		d[e.Index-1] = append(d[e.Index-1], e.Digests[0].Digest)
	}
	log := predictRegisters(t, 2<<30, EDK2Stable202408(), ACPI{d[0][8], d[0][9], d[0][10]}, d[1][0], d[2][0], d[2][1])
	for i, e := range log {
		switch e.Name {
		case "kernel": // address and size from the log: 0x7cb30018, 0xa5a200
			log[i].Data = loadedImage(0xa5a200)
			copy(log[i].Data, []byte{0x18, 0x00, 0xb3, 0x7c})
		case "cfv": // of a firmware of 4 MiB
			log[i].Data = firmwareVolume(0xffc00000, 0x84000)
		}
	}
	got := log.CCEL()
	if !bytes.HasPrefix(real, got) {
		n := 0
		for n < len(got) && got[n] == real[n] {
			n++
		}
		t.Fatalf("the logs part at byte %d of %d", n, len(got))
	}
	if rest := bytes.Trim(real[len(got):], "\xff"); len(rest) > 0 {
		t.Errorf("%d bytes are left in the real log", len(rest))
	}
}

// A verifier reads the log, finds the names of the prediction, and the quoted
// registers.
func TestCCELIsReadBack(t *testing.T) {
	log, prediction, err := PredictLog(input())
	if err != nil {
		t.Fatal(err)
	}
	read, err := eventlog.ParseCCEL(log.CCEL())
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Explains([4]vm.Register{prediction.RTMR0, prediction.RTMR1, prediction.RTMR2}, 0, 1, 2); err != nil {
		t.Error(err)
	}
	if err := read.Check(); err != nil {
		t.Error(err)
	}
	if d := eventlog.Diff(log.Events(), read.Events()); len(d) > 0 {
		t.Errorf("the log differs from the prediction: %v", d)
	}
	for i, e := range read.Events() {
		if e.Name != log[i].Name {
			t.Errorf("event %d is read as %s, want %s", i, e.Name, log[i].Name)
		}
	}
	if size := len(log.CCEL()); size > vm.MaxBootLogSize/16 {
		t.Errorf("the log has %d bytes", size)
	}
}

// What newer firmware measures, as far as another project's captures show it.
func TestNewerProfiles(t *testing.T) {
	in := input()
	in.Profile = EDK2Stable202505()
	if _, _, err := Predict(in); err == nil {
		t.Fatal("SMBIOS tables were predicted from nothing")
	}
	in.SMBIOS = &vm.Register{1}
	events, _, err := Predict(in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // measurement of machines in the field
		"bootorder": "53d3dbc0", "BootOrder": "52b9a02d", "Boot0000": "5068e6a9", "Boot0001": "dd424f2e", "BootMenu": "1dd6f7b4",
	}
	for _, e := range events {
		if prefix, ok := want[e.Name]; ok && e.Digest.String()[:8] != prefix {
			t.Errorf("%s has the digest %s, want %s…", e.Name, e.Digest, prefix)
		}
		delete(want, e.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	in.Profile = EDK2Stable202508()
	before, _ := json.Marshal(events)
	events, _, err = Predict(in)
	if after, _ := json.Marshal(events); err != nil || bytes.Equal(before, after) {
		t.Errorf("the next release measures the same: %v", err)
	}
}
