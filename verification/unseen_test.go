package verification_test

import (
	"encoding/hex"
	"testing"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// TestA1_ReplayInABrowser: who cannot see the connection's key can still tell
// a fresh answer from an old one, and is never told that the connection holds.
func TestA1_ReplayInABrowser(t *testing.T) {
	m := machinetest.Boot(t)
	for _, c := range []struct {
		name    string
		lie     func(*verification.Answer)
		verdict string
		fresh   verification.Outcome
		code    vm.Code
	}{
		{"fresh", func(*verification.Answer) {}, verification.Verified, verification.Holds, ""},
		{"an old answer", func(a *verification.Answer) { a.Nonce = theirNonce }, verification.NotVerified, verification.Fails, vm.CodeStale},
		{
			"an old quote in a new answer", func(a *verification.Answer) {
				a.Nonce, a.Attestation.Nonce = theirNonce, hex.EncodeToString(theirNonce)
			},
			verification.NotVerified, verification.Fails, vm.CodeReportData,
		},
		{"another key", func(a *verification.Answer) { a.Attestation.TLSKey = theirKey }, verification.NotVerified, verification.Fails, vm.CodeReportData},
	} {
		a := answer(t, m, ourKey, ourNonce)
		a.TLSKey = vm.Hash{} // nobody saw it
		c.lie(&a)
		r := verification.Appraise(a, everything(m))
		if r.Verdict != c.verdict || r.Check("fresh").OK != c.fresh || r.Check("fresh").Code != c.code {
			t.Errorf("%s: %s, fresh %v %s, want %s, %v %s", c.name, r.Verdict, r.Check("fresh").OK, r.Check("fresh").Code, c.verdict, c.fresh, c.code)
		}
		if got := r.Check("connection"); got.OK != verification.Open {
			t.Errorf("%s: the connection is said to be %v: %s", c.name, got.OK, got.What)
		}
	}
}
