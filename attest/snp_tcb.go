package attest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// snpState is how current an SNP platform's firmware is.
type snpState struct {
	status     collateral.Status
	advisories []string
	since      time.Time // when the oldest weakness became public; zero: the policy's own floor
	hint       string
}

// judgeSNP finds how current the firmware is, and refuses unless the policy
// accepts that.
//
// AMD signs no statuses; the words are Intel's, for what they say in spirit:
// OutOfDate, if the TCB of the signing key, of the machine's launch, or below
// which the host can go back, is under the floor in any part;
// ConfigurationNeeded, if it is not but the host lets the firmware sign for an
// older TCB than it has committed to; UpToDate otherwise.
func judgeSNP(r *snp.Report, product snp.Product, policy *Policy, at time.Time) (s snpState, err error) {
	line := product.Line()
	tcbs := [4]snp.TCB{}
	for i, field := range []struct {
		name   string
		packed uint64
	}{{"REPORTED_TCB", r.ReportedTCB}, {"COMMITTED_TCB", r.CommittedTCB}, {"LAUNCH_TCB", r.LaunchTCB}, {"CURRENT_TCB", r.CurrentTCB}} {
		if tcbs[i], err = line.TCB(field.name, field.packed); err != nil {
			return s, err
		}
	}
	reported, committed, launch, current := tcbs[0], tcbs[1], tcbs[2], tcbs[3]
	switch {
	case !current.AtLeast(committed):
		return s, vm.Refuse(vm.CodeTCB, "the firmware that runs is older than what it has committed to").On("CURRENT_TCB", current.String(), committed.String())
	case !current.AtLeast(reported):
		return s, vm.Refuse(vm.CodeTCB, "the report claims newer firmware than runs").On("REPORTED_TCB", reported.String(), current.String())
	}
	worst := reported.Min(committed).Min(launch)
	s = rate(worst, product, &policy.SNP)
	if s.status == collateral.UpToDate && !reported.AtLeast(committed) {
		s.status = collateral.ConfigurationNeeded
		s.hint = fmt.Sprintf("the host reports less than it has committed to (%s): it should reset REPORTED_TCB (SNP_COMMIT or SNP_CONFIG)", strings.Join(reported.Short(committed), ", "))
	}
	switch {
	case policy.accepts(s.status), policy.acceptsAdvisories(s.status, s.advisories):
		return s, nil
	case policy.gives(s.status) && !s.since.IsZero() && !at.After(s.since.Add(policy.Grace)):
		return s, nil
	}
	return s, refuseTCB("the platform's TCB is not good enough", string(s.status), s.advisories, policy).Try(s.hint)
}

// rate compares a TCB with the policy's floor for the product, or with the
// levels that are built in.
func rate(t snp.TCB, product snp.Product, p *SNPPolicy) snpState {
	s := snpState{status: collateral.UpToDate}
	if floor, ok := p.MinimumTCB[product]; ok {
		if !t.AtLeast(floor) {
			s.status = collateral.OutOfDate
			s.hint = "for the policy's minimum TCB of " + string(product) + ", " + strings.Join(t.Short(floor), ", ") + ": the host must update its BIOS or SEV firmware, and commit to it"
		}
		return s
	}
	for _, level := range product.Levels() {
		if t.AtLeast(level.TCB) {
			continue
		}
		if s.status == collateral.UpToDate {
			s.hint = "for UpToDate on " + string(product) + ", " + strings.Join(t.Short(level.TCB), ", ") + ": the host must update its BIOS or SEV firmware, and commit to it"
		}
		s.status = collateral.OutOfDate
		s.advisories = append(s.advisories, level.Advisories...)
		if s.since.IsZero() || level.Date.Before(s.since) {
			s.since = level.Date
		}
	}
	slices.Sort(s.advisories)
	return s
}
