package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// check refuses what each field allows and all of them together do not mean.
func (p Policy) check() error {
	w := p.Workload
	key, keyErr := hex.DecodeString(w.KMS)
	switch {
	case p.Version != 1:
		return errors.New("version is missing: begin with `version: 1`")
	case p.Image.Manifest != "" && len(p.Image.Registers) > 0:
		return errors.New("image has both manifest and registers: a manifest names the registers")
	case w.Compose != "" && w.ComposeHash != nil:
		return errors.New("workload has both compose and compose_sha256: one is enough")
	case w.Files != "" && w.FilesHash != nil:
		return errors.New("workload has both files and files_sha256: one is enough")
	case w.KMS != "" && (keyErr != nil || len(key) != 96):
		return errors.New("workload.kms is no group key of 192 hex digits, as `kmsd status` prints it")
	case w.Service != "" && !strings.Contains(w.Service, "/"):
		return fmt.Errorf("workload.service is %.64q, want owner/name", w.Service)
	case p.TCB.GraceDays > 366:
		return fmt.Errorf("tcb.grace_days is %d, want at most 366", p.TCB.GraceDays)
	case p.Collateral.StaleDays > 366:
		return fmt.Errorf("collateral.stale_days is %d, want at most 366", p.Collateral.StaleDays)
	case p.GPU.Count+p.GPU.Switches > vm.MaxGPUs:
		return fmt.Errorf("gpu wants %d GPUs and %d switches, at most %d fit into evidence", p.GPU.Count, p.GPU.Switches, vm.MaxGPUs)
	}
	for i, id := range p.Machine.Hardware {
		if b, err := hex.DecodeString(id); err != nil || len(b) == 0 {
			return fmt.Errorf("machine.hardware[%d] is %.64q, want hex digits", i, id)
		}
	}
	return p.SNP.check()
}
