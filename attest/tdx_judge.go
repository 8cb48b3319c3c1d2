package attest

import (
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// state is how current a platform is, and for how long that is good enough.
type state struct {
	status     collateral.Status
	advisories []string
	evaluation int
	fresh      time.Time // nextUpdate of the collateral that says so
	valid      span
}

// appraise opens the collateral and refuses the platform unless the policy
// accepts what it says.
func (m *memory) appraise(check *pki.Checker, c *vm.Collateral, p platform, q shown, policy *Policy) (state, error) {
	// Collateral signed below another accepted root (a development one) must
	// not speak about this platform.
	below := check.Below(p.root)
	below.Stale = policy.StaleCollateral
	said, valid, err := m.openCollateral(below, c, p, q.about, policy)
	if err != nil {
		return state{}, err
	}
	found, err := assess(&p.sgx, q, &said, policy)
	if err != nil {
		return state{}, err
	}
	until, err := found.judge(&said, policy, check.At)
	if err != nil {
		return state{}, err
	}
	if !until.IsZero() {
		valid.until = earlier(valid.until, until)
	}
	return state{found.status, found.advisories, said.tcb.TCBEvaluationDataNumber, said.fresh, valid}, nil
}

// judge refuses what the policy does not accept. When it accepts something
// because of its grace, it returns when that ends.
func (a assessment) judge(s *said, policy *Policy, at time.Time) (until time.Time, err error) {
	if policy.accepts(a.status) {
		return until, nil
	}
	var hints []string
	for i := range a.parts {
		p := &a.parts[i]
		if policy.accepts(p.status) || policy.acceptsAdvisories(p.status, p.advisories) {
			continue
		}
		if end := p.since.Add(policy.Grace); policy.gives(p.status) && !at.After(end) {
			if until.IsZero() || end.Before(until) {
				until = end
			}
			continue
		}
		var info *collateral.TCBInfo
		if p.levels == nil {
			info = &s.tcb
		}
		hints = append(hints, p.hint(info, policy))
	}
	if len(hints) == 0 {
		return until, nil
	}
	return until, refuseTCB("the platform's TCB is not good enough", string(a.status), a.advisories, policy).
		Try(strings.Join(slices.Compact(hints), "; ") + a.relaunch(policy))
}

// relaunch is advice for a machine that still runs on what it was launched
// with, on a host that has been updated since (Intel calls that "TD relaunch
// advised").
func (a assessment) relaunch(policy *Policy) string {
	updated, current := false, true
	for i := range a.parts {
		if strings.Contains(a.parts[i].what, "updated since") {
			updated = true
			current = current && policy.accepts(a.parts[i].status)
		}
	}
	if updated && current {
		return "; the host has been updated since the machine's launch: start the machine again"
	}
	return ""
}

// outlook says what the next TCB recovery will make of a platform. It is nil
// without its collateral, or if that is not genuine, current and about the
// platform.
func (m *memory) outlook(check *pki.Checker, o Options, p platform, q shown) *vm.Outlook {
	if o.Early == nil {
		return nil
	}
	// Neither validity nor policy of this collateral is the verdict's.
	below := check.Below(p.root)
	said, _, err := m.openCollateral(below, o.Early, p, q.about, &Policy{})
	if err != nil {
		return nil
	}
	out := &vm.Outlook{Evaluation: said.tcb.TCBEvaluationDataNumber}
	found, err := assess(&p.sgx, q, &said, &o.Policy)
	if err != nil {
		out.TCBStatus = "not listed"
		return out
	}
	out.TCBStatus, out.Advisories = string(found.status), found.advisories
	return out
}
