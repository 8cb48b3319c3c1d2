//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// compareWithPrediction predicts the image anew and holds every register and
// every event against what a verifier learns from the running machine.
func (l *lab) compareWithPrediction(t *testing.T, s *session) {
	t.Helper()
	code, out, errOut := l.secretvm(t, "measure", l.image, "--shape", "2x2G", "--events", "--json")
	if code != 0 {
		t.Fatalf("secretvm measure ends with %d:\n%s%s", code, out, errOut)
	}
	var predicted []struct {
		vm.Prediction
		Events []vm.Event
	}
	if err := json.Unmarshal([]byte(out), &predicted); err != nil || len(predicted) != 1 || predicted[0].Shape != vm.DefaultShape {
		t.Fatalf("secretvm measure says %v:\n%s", err, out)
	}
	want := predicted[0]
	code, out, errOut = l.secretvm(t, append(s.result.Verify[1:], "--json")...)
	var report struct {
		Machine struct {
			Measurement vm.Measurement
			BootLog     []vm.BootEvent `json:"boot_log"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("secretvm verify --json ends with %d, %v:\n%s%s", code, err, out, errOut)
	}
	got := report.Machine.Measurement
	for name, pair := range map[string][2]vm.Register{
		"MRTD": {want.MRTD, got.MRTD}, "RTMR0": {want.RTMR0, got.RTMR[0]}, "RTMR1": {want.RTMR1, got.RTMR[1]}, "RTMR2": {want.RTMR2, got.RTMR[2]},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s was predicted as %s and is quoted as %s", name, pair[0], pair[1])
		}
	}
	if len(report.Machine.BootLog) != len(want.Events) {
		t.Fatalf("the boot log has %d events, %d were predicted", len(report.Machine.BootLog), len(want.Events))
	}
	for i, e := range report.Machine.BootLog {
		if w := want.Events[i]; e.Name != w.Name || e.Register != w.Register || e.Digest != w.Digest {
			t.Errorf("event %d is %s of RTMR%d (%s), predicted was %s of RTMR%d (%s)", i, e.Name, e.Register, e.Digest, w.Name, w.Register, w.Digest)
		}
	}
}
