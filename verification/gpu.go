package verification

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// checkGPUs reports the devices that proved themselves; no line where nobody
// asked for devices and none came along.
func (f *finding) checkGPUs() []Check {
	if len(f.verdict.GPUs) == 0 {
		if f.config != nil && f.config.GPU == "attest" {
			return []Check{fails("gpu", vm.Refuse(vm.CodeGPU, "the configuration wants attested GPUs, and no evidence of one came along").
				On("gpu", "none", "attest").Try("the machine must not have got its keys: ask its owner"))}
		}
		return nil
	}
	var checks []Check
	for i, g := range f.verdict.GPUs {
		name := "gpu"
		if len(f.verdict.GPUs) > 1 {
			name = fmt.Sprintf("%s %d", g.Kind, i+1)
		}
		var caveats []string
		if !g.Measured {
			caveats = append(caveats, "not compared with NVIDIA's reference documents")
		}
		if !g.Unrevoked {
			caveats = append(caveats, "revocation not checked")
		}
		what := strings.TrimSpace("genuine NVIDIA "+g.Architecture+" "+g.Model) + ", driver " + or(g.Driver, "unknown") + ", firmware " + or(g.Firmware, "unknown")
		detail := fmt.Sprintf("%s root %s", or(g.Anchor.Vendor, "NAMED"), short(g.Anchor.SHA256))
		if g.VouchedBy != "" {
			detail += ", vouched for by " + g.VouchedBy
		}
		if len(caveats) > 0 {
			what += "; " + strings.Join(caveats, ", ")
		}
		checks = append(checks, holds(name, what, "%s", detail))
	}
	return checks
}
