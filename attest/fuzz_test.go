package attest

import (
	"reflect"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

// FuzzVerify: no input makes the verifier panic, accept what nobody signed, or
// say something else when it remembers. It starts from evidence of a
// development PKI and, where they are there, from genuine quotes of Intel's.
func FuzzVerify(f *testing.F) {
	b := newBed(f)
	type start struct {
		ev vm.Evidence
		o  Options
	}
	starts := []start{{b.evidence(f), b.options}, {b.sgxEvidence(f, nil), b.options}}
	if haveVectors() {
		ev, o := genuine(f)
		starts = append(starts, start{ev, o})
		ev, o = genuineSGX(f)
		starts = append(starts, start{ev, o})
	}
	var signed []vm.Verdict
	for i, s := range starts {
		c := s.ev.Collateral
		f.Add(byte(i), s.ev.Quote, c.PCKCRL, c.RootCACRL, c.TCBInfo, c.TCBInfoChain, c.QEIdentity, c.PCKCRLChain)
		verdict, err := bothWays(f, s.ev, s.o)
		if err != nil {
			f.Fatal(err)
		}
		signed = append(signed, verdict)
	}
	f.Fuzz(func(t *testing.T, which byte, quote, pckCRL, rootCRL, info, signer, qe, ca []byte) {
		i := int(which) % len(starts)
		ev := vm.Evidence{Quote: quote, Collateral: &vm.Collateral{
			PCKCRL: pckCRL, RootCACRL: rootCRL, TCBInfo: info, TCBInfoChain: signer, QEIdentity: qe, QEIdentityChain: signer, PCKCRLChain: ca,
		}}
		if len(quote) > 0 && quote[0] == tdx.Version3 {
			ev.TEE = vm.SGX
		}
		got, err := bothWays(t, ev, starts[i].o)
		if err != nil && vm.CodeOf(err) == vm.CodeInternal {
			t.Errorf("error without a code: %v", err)
		}
		if err != nil {
			return
		}
		for _, want := range signed {
			if got.Measurement == want.Measurement && reflect.DeepEqual(got.SGX, want.SGX) && reflect.DeepEqual(got.ReportData, want.ReportData) {
				return
			}
		}
		t.Errorf("accepted %+v, which nobody signed", got)
	})
}
