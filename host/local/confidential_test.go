package local

import (
	"strings"
	"testing"

	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/vm"
)

func TestConfidentialMachinesAreRefusedWithTheReason(t *testing.T) {
	for name, row := range map[string]struct {
		facts doctor.Facts
		want  []string
	}{
		"laptop": {
			doctor.Facts{CPU: doctor.CPU{Vendor: "GenuineIntel", Name: "Core", Family: 6, Model: 154}},
			[]string{"cannot run here: processor: Core", "try: TDX is in Xeons", "host doctor --tee tdx"},
		},
		"another vendor": {
			doctor.Facts{CPU: doctor.CPU{Vendor: "AuthenticAMD", Name: "EPYC"}},
			[]string{"the processor is EPYC (AuthenticAMD)", "TDX is Intel's"},
		},
	} {
		err := refuse(vm.TDX, doctor.Judge(row.facts))
		for _, want := range append(row.want, "use --tee soft") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
	ready := doctor.Report{Ready: map[vm.TEE]bool{vm.TDX: true}}
	if err := refuse(vm.TDX, ready); !strings.Contains(err.Error(), "no keys yet") || !strings.Contains(err.Error(), "use --tee soft") {
		t.Errorf("a host that is ready: %v", err)
	}
}
