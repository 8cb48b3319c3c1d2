package attest

import (
	"slices"

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

	// SEPTVE accepts machines that did not set SEPT_VE_DISABLE, into which the
	// host can inject exceptions. Guests behind a paravisor are like that.
	SEPTVE bool
}

// forbidden attributes are refused whatever a policy says: the TD is under
// debug, or can be copied to where the quote says nothing about.
const forbidden = tdx.AttributesUnderDebug | tdx.AttributeMigratable

func (p Policy) check() error {
	for _, status := range p.Accept {
		if s := collateral.Status(status); !s.Known() || s == collateral.RevokedTCB {
			return vm.Refuse(vm.CodeInvalid, "policy accepts TCB status %q, which cannot be accepted", status)
		}
	}
	if p.Attributes&forbidden != 0 {
		return vm.Refuse(vm.CodeInvalid, "policy allows TD attributes %#x, of which %#x can never be allowed", p.Attributes, p.Attributes&forbidden)
	}
	return nil
}

// accepted returns the statuses that are good enough.
func (p Policy) accepted() []string {
	if len(p.Accept) == 0 {
		return []string{string(collateral.UpToDate)}
	}
	return p.Accept
}

func (p Policy) accepts(s collateral.Status) bool {
	return slices.Contains(p.accepted(), string(s))
}
