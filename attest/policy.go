package attest

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// Policy says what state of a genuine platform is good enough. DEBUG is
// refused under every policy.
type Policy struct {
	// Accept lists the TCB statuses that are good enough, in Intel's words.
	// None means UpToDate only. Revoked cannot be accepted.
	Accept []string

	// Attributes are TD attribute bits that are allowed beyond
	// SEPT_VE_DISABLE, such as tdx.AttributePKS. None means no others.
	Attributes uint64

	// XFAM are extended feature bits that are allowed beyond those that TDX
	// defines today (tdx.XFAMKnown), for a processor newer than this code.
	// None means no others.
	XFAM uint64

	// SEPTVE accepts machines that did not set SEPT_VE_DISABLE, into which the
	// host can inject exceptions. Guests behind a paravisor are like that.
	SEPTVE bool

	// Advisories lists the known weaknesses ("INTEL-SA-00837") that are
	// accepted. A platform, module or enclave with a status outside Accept
	// passes too when Intel names accepted ones alone for it, and one at least;
	// Revoked never does. None means that statuses alone decide.
	Advisories []string

	// Grace tolerates a platform that is out of date for so long after the
	// date (tcbDate) of the first level that it misses, so that hosts have time
	// to update. It never makes up for Revoked, nor for a need of configuration
	// that is not accepted. None means that it is refused from that date on.
	Grace time.Duration

	// MinEvaluation is the least tcbEvaluationDataNumber that TCB info and QE
	// identity may have. None means any: validity alone bounds their age.
	MinEvaluation int

	// Hardware lists the machines that are accepted, by vm.Verdict.HardwareID
	// in hexadecimal of either case. None means any.
	Hardware []string

	// StaleCollateral accepts collateral for so long after its nextUpdate,
	// for times when the vendor's service cannot be reached. Certificates
	// always end when they say. None means that it ends on time.
	StaleCollateral time.Duration

	// SNP and GPU are about AMD SEV-SNP and NVIDIA devices.
	SNP SNPPolicy
	GPU GPUPolicy
}

// maxLeniency bounds Grace and StaleCollateral: with more, a policy says
// something else than it seems to.
const maxLeniency = 2 * 366 * 24 * time.Hour

// forbidden attributes are refused whatever a policy says: the TD is under
// debug, or can be copied to where the quote says nothing about.
const forbidden = tdx.AttributesUnderDebug | tdx.AttributeMigratable

func (p *Policy) check() error {
	for _, status := range p.Accept {
		if s := collateral.Status(status); !s.Known() || s == collateral.RevokedTCB {
			return vm.Refuse(vm.CodeInvalid, "policy accepts TCB status %q, which cannot be accepted", status)
		}
	}
	if p.Attributes&forbidden != 0 {
		return vm.Refuse(vm.CodeInvalid, "policy allows TD attributes %#x, of which %#x can never be allowed", p.Attributes, p.Attributes&forbidden)
	}
	if p.Grace < 0 || p.Grace > maxLeniency || p.StaleCollateral < 0 || p.StaleCollateral > maxLeniency {
		return vm.Refuse(vm.CodeInvalid, "policy gives %v of grace and accepts collateral %v late, want 0 to %v", p.Grace, p.StaleCollateral, maxLeniency)
	}
	if p.MinEvaluation < 0 {
		return vm.Refuse(vm.CodeInvalid, "policy wants a tcbEvaluationDataNumber of %d", p.MinEvaluation)
	}
	if err := p.SNP.check(); err != nil {
		return err
	}
	if err := p.GPU.check(); err != nil {
		return err
	}
	for _, id := range p.Hardware {
		if b, err := hex.DecodeString(id); err != nil || len(b) == 0 {
			return vm.Refuse(vm.CodeInvalid, "policy names hardware %.40q, which is not hexadecimal", id)
		}
	}
	return nil
}

// accepted returns the statuses that are good enough.
func (p *Policy) accepted() []string {
	if len(p.Accept) == 0 {
		return []string{string(collateral.UpToDate)}
	}
	return p.Accept
}

// acceptsAdvisories reports whether every weakness that a status speaks of is
// accepted.
func (p *Policy) acceptsAdvisories(s collateral.Status, advisories []string) bool {
	if s == collateral.RevokedTCB || len(advisories) == 0 {
		return false
	}
	for _, id := range advisories {
		if !slices.Contains(p.Advisories, id) {
			return false
		}
	}
	return true
}

// gives reports whether a status may be tolerated for a while: it says that
// something is out of date, and nothing else that the policy does not accept.
func (p *Policy) gives(s collateral.Status) bool {
	switch s {
	case collateral.OutOfDate:
		return p.Grace > 0
	case collateral.OutOfDateConfigurationNeeded:
		return p.Grace > 0 && p.accepts(collateral.ConfigurationNeeded)
	}
	return false
}

// checkHardware refuses a machine that the policy does not name.
func (p *Policy) checkHardware(id string) error {
	if len(p.Hardware) == 0 {
		return nil
	}
	for _, accepted := range p.Hardware {
		if id != "" && strings.EqualFold(accepted, id) {
			return nil
		}
	}
	return vm.Refuse(vm.CodeHardware, "the machine is genuine, and not one that the policy names").
		On("hardware id", id, fmt.Sprintf("one of %d", len(p.Hardware))).
		Try("if this is a machine of yours, add its id to the policy")
}

func (p *Policy) accepts(s collateral.Status) bool {
	return slices.Contains(p.accepted(), string(s))
}
