package types

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of a policy: it is read with every release.
const (
	MaxDelay      = 2 * 366 * 24 * 60 * 60 // seconds; of every duration in a policy
	MaxStatuses   = 8
	MaxAdvisories = 64
	MaxHardware   = 128
	maxHardwareID = 128 // hex digits: AMD's chip ids have 64 bytes
)

var advisoryPattern = regexp.MustCompile(`^[A-Z0-9][A-Za-z0-9.-]{2,39}$`)

// Validate reports the first field that has no meaning.
func (p Policy) Validate() error {
	for _, d := range []struct {
		name  string
		value uint64
	}{{"upgrade_delay", p.UpgradeDelay}, {"grace", p.Grace}, {"max_evidence_age", p.MaxEvidenceAge}, {"stale_collateral", p.StaleCollateral}} {
		if d.value > MaxDelay {
			return Fail(vm.Refuse(vm.CodeInvalid, "policy: too long").On(d.name, fmt.Sprintf("%d s", d.value), fmt.Sprintf("at most %d s", MaxDelay)))
		}
	}
	if p.MinEvaluation > 1<<31-1 {
		return Fail(vm.Refuse(vm.CodeInvalid, "policy: min_evaluation is %d", p.MinEvaluation))
	}
	for _, l := range []struct {
		name       string
		found, max int
	}{{"tcb_statuses", len(p.TcbStatuses), MaxStatuses}, {"advisories", len(p.Advisories), MaxAdvisories}, {"hardware", len(p.Hardware.GetIds()), MaxHardware}} {
		if l.found > l.max {
			return Fail(vm.Refuse(vm.CodeTooLarge, "policy: too many").On(l.name, fmt.Sprint(l.found), fmt.Sprintf("at most %d", l.max)))
		}
	}
	for _, s := range p.TcbStatuses {
		if status := collateral.Status(s); !status.Known() || status == collateral.RevokedTCB {
			return Fail(vm.Refuse(vm.CodeInvalid, "policy: a TCB status that cannot be accepted").On("tcb_statuses", fmt.Sprintf("%.40q", s), "OutOfDate, SWHardeningNeeded …"))
		}
	}
	for _, a := range p.Advisories {
		if !advisoryPattern.MatchString(a) {
			return Fail(vm.Refuse(vm.CodeInvalid, "policy: not the name of an advisory").On("advisories", fmt.Sprintf("%.40q", a), "INTEL-SA-00837 …"))
		}
	}
	for _, id := range p.Hardware.GetIds() {
		if b, err := hex.DecodeString(id); err != nil || len(b) == 0 || len(id) > maxHardwareID {
			return Fail(vm.Refuse(vm.CodeInvalid, "policy: not the id of a processor").On("hardware", fmt.Sprintf("%.40q", id), "hexadecimal"))
		}
	}
	return nil
}

// Normal returns p as the ledger writes it: lists sorted, without repetition
// and without what goes without saying.
func (p Policy) Normal() Policy {
	p.TcbStatuses = slices.DeleteFunc(set(p.TcbStatuses), func(s string) bool { return s == string(collateral.UpToDate) })
	p.Advisories = set(p.Advisories)
	if p.Hardware != nil {
		ids := make([]string, len(p.Hardware.Ids))
		for i, id := range p.Hardware.Ids {
			ids[i] = strings.ToLower(id)
		}
		p.Hardware = &Hardware{Ids: set(ids)}
	}
	if len(p.TcbStatuses) == 0 {
		p.TcbStatuses = nil
	}
	return p
}

func set(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// Stricter returns the policy that accepts exactly what both p and q accept, and
// announces as early as the one that does so earlier. Both are normal, and so
// is it.
func (p Policy) Stricter(q Policy) Policy {
	return Policy{
		UpgradeDelay:    max(p.UpgradeDelay, q.UpgradeDelay),
		TcbStatuses:     both(p.TcbStatuses, q.TcbStatuses),
		Grace:           min(p.Grace, q.Grace),
		Advisories:      both(p.Advisories, q.Advisories),
		Hardware:        bothHardware(p.Hardware, q.Hardware),
		MinEvaluation:   max(p.MinEvaluation, q.MinEvaluation),
		MaxEvidenceAge:  lower(p.MaxEvidenceAge, q.MaxEvidenceAge),
		StaleCollateral: min(p.StaleCollateral, q.StaleCollateral),
	}
}

// Same reports whether two normal policies say the same.
func (p Policy) Same(q Policy) bool {
	return p.UpgradeDelay == q.UpgradeDelay && p.Grace == q.Grace && p.MinEvaluation == q.MinEvaluation &&
		p.MaxEvidenceAge == q.MaxEvidenceAge && p.StaleCollateral == q.StaleCollateral &&
		slices.Equal(p.TcbStatuses, q.TcbStatuses) && slices.Equal(p.Advisories, q.Advisories) &&
		(p.Hardware == nil) == (q.Hardware == nil) && slices.Equal(p.Hardware.GetIds(), q.Hardware.GetIds())
}

// both is what is in two sorted lists.
func both(a, b []string) (out []string) {
	for _, s := range a {
		if slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func bothHardware(a, b *Hardware) *Hardware {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &Hardware{Ids: both(a.Ids, b.Ids)}
}

// lower is the smaller of two bounds, of which 0 is none.
func lower(a, b uint64) uint64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Verify returns p as package attest reads it, and whether p accepts no
// hardware at all, which cannot be written there.
func (p Policy) Verify() (policy attest.Policy, noHardware bool) {
	policy = attest.Policy{
		Accept:     append([]string{string(collateral.UpToDate)}, p.TcbStatuses...),
		Advisories: p.Advisories, Grace: time.Duration(p.Grace) * time.Second,
		MinEvaluation: int(p.MinEvaluation), StaleCollateral: time.Duration(p.StaleCollateral) * time.Second,
	}
	if p.Hardware != nil {
		policy.Hardware, noHardware = p.Hardware.Ids, len(p.Hardware.Ids) == 0
	}
	return policy, noHardware
}

// PolicyAt returns the policy that is in force at a time, in Unix seconds of
// block time.
func (s *Service) PolicyAt(now int64) Policy {
	if s.PendingPolicy != nil && s.PendingPolicy.ActiveAt <= now {
		return s.PendingPolicy.Policy
	}
	return s.Policy
}

// Settle moves into place what was announced for now or before.
func (s *Service) Settle(now int64) {
	if s.PendingPolicy != nil && s.PendingPolicy.ActiveAt <= now {
		s.Policy, s.PendingPolicy = s.PendingPolicy.Policy, nil
	}
}

// At returns what is in force at a time, nil when there is nothing, and what
// has been announced for later.
func (s SealedSlot) At(now int64) (current, pending *Sealed) {
	if s.Pending != nil && s.Pending.ActiveAt <= now {
		return s.Pending, nil
	}
	return s.Current, s.Pending
}

// State says what an image is at a time: "active", "pending" or "revoked".
func (i *Image) State(now int64) string {
	switch {
	case i.RevokedAt != 0:
		return StateRevoked
	case i.ActiveAt > now:
		return StatePending
	}
	return StateActive
}

// The states of an image.
const (
	StateActive  = "active"
	StatePending = "pending"
	StateRevoked = "revoked"
)
