package attest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// shown is what a quote shows of the TCB below it.
type shown struct {
	about subject
	qe    *tdx.EnclaveReport // of the quoting enclave
	body  *tdx.Body          // of a TDX machine; nil for SGX
}

// svns are the TDX module's versions that count: the one at launch, and the
// one now where the host has updated the module below the running machine.
func (s shown) svns() (launch, now [16]byte) {
	if s.body == nil {
		return launch, now
	}
	if s.body.TEETCBSVN2 == [16]byte{} { // TDX 1.0 bodies have one
		return s.body.TEETCBSVN, s.body.TEETCBSVN
	}
	return s.body.TEETCBSVN, s.body.TEETCBSVN2
}

// part is one thing with a TCB of its own, and the level that it reaches.
type part struct {
	what       string
	status     collateral.Status
	advisories []string
	since      time.Time // tcbDate of the oldest level that it misses

	platform collateral.Platform   // of the platform
	levels   []collateral.SVNLevel // of others: what svn was compared with
	svn      int
}

// assessment is how current a platform is, whatever a policy makes of it.
type assessment struct {
	parts      []part
	status     collateral.Status // of all parts together
	advisories []string          // known weaknesses that the status speaks of, sorted
}

// assess finds the levels of platform, TDX module and quoting enclave. What
// has no level is refused; the policy is for the hint only.
func assess(sgx *pki.Extensions, q shown, s *said, policy *Policy) (a assessment, err error) {
	if err := checkQE(q.qe, &s.qe); err != nil {
		return a, err
	}
	a.parts = make([]part, 0, 5)
	launch, now := q.svns()
	if err := a.addPlatform("", sgx, launch, q, s, policy); err != nil {
		return a, err
	}
	if now != launch {
		if err := a.addPlatform(", as updated since the machine's launch,", sgx, now, q, s, policy); err != nil {
			return a, err
		}
	}
	if err := a.add("quoting enclave", s.qe.TCBLevels, int(q.qe.ISVSVN), policy); err != nil {
		return a, err
	}
	slices.Sort(a.advisories)
	a.advisories = slices.Compact(a.advisories)
	return a, nil
}

// addPlatform adds the platform with one version of its TDX module.
func (a *assessment) addPlatform(when string, sgx *pki.Extensions, svn [16]byte, q shown, s *said, policy *Policy) error {
	if q.body != nil {
		if err := checkModule(q.body, svn[1], &s.tcb); err != nil {
			return err
		}
	}
	p := part{what: "platform" + when, platform: collateral.Platform{SGX: sgx.SVN, PCESVN: sgx.PCESVN, TDX: svn}}
	i := s.tcb.Find(&p.platform)
	if i < 0 {
		return refuseTCB("the "+p.what+" is below every TCB level that Intel lists", "not listed", nil, policy).
			Try(shortfall(&s.tcb, &p.platform, policy))
	}
	p.status, p.advisories = s.tcb.TCBLevels[i].TCBStatus, s.tcb.TCBLevels[i].AdvisoryIDs
	p.since = s.tcb.TCBLevels[0].TCBDate
	for _, missed := range s.tcb.TCBLevels[:i] {
		if missed.TCBDate.Before(p.since) {
			p.since = missed.TCBDate
		}
	}
	if len(a.parts) == 0 {
		a.status = p.status
	} else {
		a.status = a.status.Worse(p.status)
	}
	if err := a.keep(p); err != nil {
		return err
	}
	if q.body == nil || svn[1] == 0 {
		return nil
	}
	identity, _ := s.tcb.ModuleOf(svn[1]) // checkModule has found it already
	return a.add("TDX module "+collateral.ModuleID(svn[1])+when, identity.TCBLevels, int(svn[0]), policy)
}

// add adds a part with an SVN of its own.
func (a *assessment) add(what string, levels []collateral.SVNLevel, svn int, policy *Policy) error {
	p := part{what: what, levels: levels, svn: svn}
	i := collateral.FindSVN(levels, svn)
	if i < 0 {
		return refuseTCB("the "+what+" is below every TCB level that Intel lists", "not listed", nil, policy).Try(p.hint(nil, policy))
	}
	p.status, p.advisories = levels[i].TCBStatus, levels[i].AdvisoryIDs
	p.since = levels[0].TCBDate
	for _, missed := range levels[:i] {
		if missed.TCBDate.Before(p.since) {
			p.since = missed.TCBDate
		}
	}
	a.status = a.status.Converge(p.status)
	if p.status.Known() && p.status != collateral.UpToDate && p.status != collateral.RevokedTCB {
		p.status = collateral.OutOfDate // as Converge counts it
	}
	return a.keep(p)
}

func (a *assessment) keep(p part) error {
	if !p.status.Known() {
		return vm.Refuse(vm.CodeMalformed, "TCB status %.40q is not one that Intel documents", string(p.status))
	}
	a.parts = append(a.parts, p)
	a.advisories = append(a.advisories, p.advisories...)
	return nil
}

// hint says what a part lacks for the best level that the policy accepts, and
// who updates it.
func (p *part) hint(info *collateral.TCBInfo, policy *Policy) string {
	if info != nil {
		return shortfall(info, &p.platform, policy)
	}
	for _, good := range p.levels {
		if policy.accepts(good.TCBStatus) {
			return fmt.Sprintf("%s has SVN %d, %s wants %d: the host must load a newer one", p.what, p.svn, good.TCBStatus, good.TCB.ISVSVN)
		}
	}
	return "Intel lists no level of the " + p.what + " that the policy accepts"
}

func refuseTCB(reason, status string, advisories []string, policy *Policy) *vm.Refusal {
	if len(advisories) > 0 {
		reason += " (" + strings.Join(advisories, ", ") + ")"
	}
	return vm.Refuse(vm.CodeTCB, "%s", reason).On("TCB status", status, strings.Join(policy.accepted(), " or "))
}

func shortfall(info *collateral.TCBInfo, p *collateral.Platform, policy *Policy) string {
	for i := range info.TCBLevels {
		level := &info.TCBLevels[i]
		if !policy.accepts(level.TCBStatus) {
			continue
		}
		if short := level.TCB.Short(*p); len(short) > 0 {
			return fmt.Sprintf("for %s, %s", level.TCBStatus, strings.Join(short, ", "))
		}
	}
	return "Intel lists no level of this platform that the policy accepts"
}
