package local

import (
	"fmt"
	"os"
	"strings"

	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/vm"
)

// examine is what doctor says of this computer.
func examine() doctor.Report { return doctor.Judge(doctor.Gather(os.DirFS("/"), doctor.Look())) }

// refuse says why up starts no machine in a real TEE: what the computer lacks or,
// where it lacks nothing, what up does. Half a machine, which boots and gets no
// keys, would help nobody.
func refuse(tee vm.TEE, report doctor.Report) error {
	const instead = "; use --tee soft, which has real formats and no confidentiality"
	missing := report.Missing(tee)
	if len(missing) == 0 {
		return fmt.Errorf("--tee %s: this host can run such machines, and the local KMS of up can give them no keys yet, "+
			"for nobody brings it what the vendor signs about their processor (collateral)"+instead, tee)
	}
	more := ""
	if len(missing) > 1 {
		more = fmt.Sprintf(", and %d more", len(missing)-1)
	}
	return fmt.Errorf("--tee %s cannot run here: %s: %s%s (try: %s; all of it: secretvm host doctor --tee %s)"+instead,
		tee, missing[0].Name, strings.TrimSuffix(missing[0].Found, "."), more, missing[0].Fix, tee)
}
