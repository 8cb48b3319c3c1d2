package measure

import (
	"slices"
	"testing"
)

// Our own firmware has nothing to boot but the kernel: RTMR0 lacks the boot
// options and nothing else, and no other register moves.
func TestTrimmedFirmwareHasNoBootOptions(t *testing.T) {
	names := func(p Profile) (out []string) {
		in := input()
		in.Profile = p
		log, _, err := PredictLog(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range log.Events() {
			if e.Register == platformRegister {
				out = append(out, e.Name)
			}
		}
		return out
	}
	all, trimmed := names(EDK2Stable202502()), names(Trimmed202502())
	want := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == "BootOrder" || name == "Boot0000" })
	if !slices.Equal(trimmed, want) || len(trimmed) != 11 || len(all) != 13 {
		t.Errorf("RTMR0 has the %d events %v, want these without boot options: %v", len(trimmed), trimmed, all)
	}
	debian, own := input(), input()
	debian.Profile, own.Profile = EDK2Stable202502(), Trimmed202502()
	_, a, err := PredictLog(debian)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := PredictLog(own)
	if err != nil {
		t.Fatal(err)
	}
	if a.RTMR0 == b.RTMR0 || a.MRTD != b.MRTD ||
		a.RTMR1 != b.RTMR1 || a.RTMR2 != b.RTMR2 {
		t.Error("another register than RTMR0 depends on the boot options, or RTMR0 does not")
	}
}
