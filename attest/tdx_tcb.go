package attest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// state is how current a platform is.
type state struct {
	status     collateral.Status
	advisories []string // known weaknesses that the status speaks of, sorted
}

// judgeTCB finds the levels of platform, TDX module and quoting enclave, and
// refuses unless the policy accepts the status that they have together.
func judgeTCB(q tdx.Quote, sgx pki.Extensions, s said, policy Policy) (state, error) {
	platform := collateral.Platform{SGX: sgx.SVN, PCESVN: sgx.PCESVN, TDX: q.Body.TEETCBSVN}
	level, ok := s.tcb.Match(platform)
	if !ok {
		return state{}, refuseTCB("the platform is below every TCB level that Intel lists", "not listed", nil, policy).
			Try(shortfall(s.tcb, platform, policy))
	}
	all := state{level.TCBStatus, level.AdvisoryIDs}
	hints := []string{}
	if !policy.accepts(level.TCBStatus) {
		hints = append(hints, shortfall(s.tcb, platform, policy))
	}
	if major := q.Body.ModuleMajor(); major > 0 {
		// checkModule has found the identity already.
		identity, _ := s.tcb.ModuleOf(major)
		what := "TDX module " + collateral.ModuleID(major)
		hint, err := all.join(what, identity.TCBLevels, int(q.Body.ModuleSVN()), policy)
		if err != nil {
			return state{}, err
		}
		hints = append(hints, hint...)
	}
	hint, err := all.join("quoting enclave", s.qe.TCBLevels, int(q.Signature.QEReport.ISVSVN), policy)
	if err != nil {
		return state{}, err
	}
	hints = append(hints, hint...)
	slices.Sort(all.advisories)
	all.advisories = slices.Compact(all.advisories)
	if !all.status.Known() {
		return state{}, vm.Refuse(vm.CodeMalformed, "TCB status %.40q is not one that Intel documents", string(all.status))
	}
	if !policy.accepts(all.status) {
		return state{}, refuseTCB("the platform's TCB is not good enough", string(all.status), all.advisories, policy).
			Try(strings.Join(hints, "; "))
	}
	return all, nil
}

// join adds the level of a part with an SVN of its own. It returns what that
// part lacks, if the policy does not accept its level.
func (s *state) join(what string, levels []collateral.SVNLevel, svn int, policy Policy) (hint []string, err error) {
	level, ok := collateral.MatchSVN(levels, svn)
	if !ok || !policy.accepts(level.TCBStatus) {
		for _, good := range levels {
			if policy.accepts(good.TCBStatus) {
				hint = append(hint, fmt.Sprintf("%s has SVN %d, %s wants %d: the host must load a newer one", what, svn, good.TCBStatus, good.TCB.ISVSVN))
				break
			}
		}
	}
	if !ok {
		return nil, refuseTCB("the "+what+" is below every TCB level that Intel lists", "not listed", nil, policy).Try(strings.Join(hint, "; "))
	}
	s.status = s.status.Converge(level.TCBStatus)
	s.advisories = append(slices.Clone(s.advisories), level.AdvisoryIDs...)
	return hint, nil
}

func refuseTCB(reason, status string, advisories []string, policy Policy) *vm.Refusal {
	if len(advisories) > 0 {
		reason += " (" + strings.Join(advisories, ", ") + ")"
	}
	return vm.Refuse(vm.CodeTCB, "%s", reason).On("TCB status", status, strings.Join(policy.accepted(), " or "))
}

// shortfall says what the platform lacks for the best level that the policy
// accepts, and who updates it.
func shortfall(info collateral.TCBInfo, p collateral.Platform, policy Policy) string {
	for _, level := range info.TCBLevels {
		if !policy.accepts(level.TCBStatus) {
			continue
		}
		if short := level.TCB.Short(p); len(short) > 0 {
			return fmt.Sprintf("for %s, %s", level.TCBStatus, strings.Join(short, ", "))
		}
	}
	return "Intel lists no level of this platform that the policy accepts"
}
