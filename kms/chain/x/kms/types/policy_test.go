package types

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// somePolicy draws a policy from few values, so that two have things in common.
func somePolicy(r *rand.Rand) Policy {
	pick := func(from ...string) (out []string) {
		for _, s := range from {
			if r.IntN(2) == 0 {
				out = append(out, s)
			}
		}
		r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	}
	p := Policy{
		UpgradeDelay: uint64(r.IntN(3)), Grace: uint64(r.IntN(3)), MinEvaluation: uint64(r.IntN(3)), MaxEvidenceAge: uint64(r.IntN(3)), StaleCollateral: uint64(r.IntN(3)),
		TcbStatuses: pick("UpToDate", "OutOfDate", "SWHardeningNeeded"), Advisories: pick("INTEL-SA-00001", "INTEL-SA-00002"),
	}
	if r.IntN(3) > 0 {
		p.Hardware = &Hardware{Ids: pick("AA", "bb", "cc")}
	}
	return p
}

// accepts says in few words what a policy lets in.
func accepts(p Policy, status, advisory, hardware string, age, grace, stale, evaluation uint64) bool {
	return (status == "UpToDate" || slices.Contains(p.TcbStatuses, status)) && (advisory == "" || slices.Contains(p.Advisories, advisory)) &&
		(p.Hardware == nil || slices.Contains(p.Hardware.Ids, hardware)) && (p.MaxEvidenceAge == 0 || age <= p.MaxEvidenceAge) &&
		grace <= p.Grace && stale <= p.StaleCollateral && evaluation >= p.MinEvaluation
}

// TestStricterAcceptsWhatBothAccept: exactly that, whatever the policies, and in
// either order.
func TestStricterAcceptsWhatBothAccept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	differ := 0
	for range 3000 {
		p, q := somePolicy(r).Normal(), somePolicy(r).Normal()
		s := p.Stricter(q)
		if !s.Same(q.Stricter(p)) || !s.Same(s.Normal()) || !p.Stricter(p).Same(p) || !s.Stricter(p).Same(s) {
			t.Fatalf("%+v and %+v have %+v", p, q, s)
		}
		if s.UpgradeDelay < p.UpgradeDelay || s.UpgradeDelay < q.UpgradeDelay {
			t.Fatalf("%+v and %+v announce after %d s", p, q, s.UpgradeDelay)
		}
		if !s.Same(p) && !s.Same(q) {
			differ++
		}
		for range 20 {
			status := []string{"UpToDate", "OutOfDate", "SWHardeningNeeded"}[r.IntN(3)]
			advisory := []string{"", "INTEL-SA-00001", "INTEL-SA-00002"}[r.IntN(3)]
			hardware := []string{"aa", "bb", "cc", "dd"}[r.IntN(4)]
			age, grace, stale, evaluation := uint64(r.IntN(4)), uint64(r.IntN(3)), uint64(r.IntN(3)), uint64(r.IntN(3))
			got := accepts(s, status, advisory, hardware, age, grace, stale, evaluation)
			want := accepts(p, status, advisory, hardware, age, grace, stale, evaluation) && accepts(q, status, advisory, hardware, age, grace, stale, evaluation)
			if got != want {
				t.Fatalf("%+v and %+v: their %+v accepts %s %q %s %d %d %d %d: %t, want %t", p, q, s, status, advisory, hardware, age, grace, stale, evaluation, got, want)
			}
		}
	}
	if differ < 1000 {
		t.Errorf("only %d pairs had a third policy in common", differ)
	}
}

// TestPolicyForAttest: an empty list of hardware accepts none, which attest would
// read as any.
func TestPolicyForAttest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy Policy
		none   bool
		listed int
	}{
		{"any", Policy{}, false, 0},
		{"some", Policy{Hardware: &Hardware{Ids: []string{"aa"}}}, false, 1},
		{"none", Policy{Hardware: &Hardware{}}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, none := tt.policy.Verify()
			if none != tt.none || len(p.Hardware) != tt.listed || !slices.Equal(p.Accept, []string{"UpToDate"}) {
				t.Errorf("%+v, none %t", p, none)
			}
		})
	}
}
