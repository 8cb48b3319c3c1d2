package nvidia

import (
	"crypto/x509"

	"github.com/secretvm/secretvm/attest/nvidia/ocsp"
	"github.com/secretvm/secretvm/vm"
)

type answer = ocsp.Response

func parseAnswers(all [][]byte) ([]answer, error) {
	var answers []answer
	for _, der := range all {
		a, err := ocsp.Parse(der)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// unrevoked looks up each certificate of a verified chain from the given one
// up to, but without, the root. It refuses revoked ones, and those without an
// answer unless the options allow that; it then returns false.
func (v *verifier) unrevoked(chain []*x509.Certificate, from int) (bool, error) {
	all := true
	for i := from; i < len(chain)-1; i++ {
		status, found, err := v.status(chain[i:])
		switch {
		case err != nil:
			return false, err
		case !found && !v.Unchecked:
			return false, vm.Refuse(vm.CodeCollateral, "nothing says whether certificate %q was revoked", chain[i].Subject.CommonName).
				On("OCSP answer", "none", "one from NVIDIA").
				Try("add NVIDIA's answers to the evidence (secretvm collateral fetch), or accept certificates unchecked in the policy")
		case status.Revoked && !(status.Hold && v.Hold):
			return false, revoked(chain[i], status)
		case found && !status.Good && !status.Revoked:
			return false, vm.Refuse(vm.CodeRevoked, "NVIDIA does not know certificate %q", chain[i].Subject.CommonName)
		}
		all = all && found && status.Good
	}
	return all, nil
}

// status returns the worst that any sound answer says about chain[0]. Answers
// about other certificates do not count; unsound ones, such as last week's,
// are refused when there is no sound one.
func (v *verifier) status(chain []*x509.Certificate) (worst ocsp.Status, found bool, err error) {
	var unsound error
	for _, a := range v.answers {
		if !a.Covers(chain[0], chain[1]) {
			continue
		}
		s, err := a.About(v.check, chain, v.Stale)
		if err != nil {
			unsound = err
			continue
		}
		if !found || worst.Good && !s.Good || worst.Hold && s.Revoked && !s.Hold {
			worst = s
		}
		found = true
	}
	if !found {
		return worst, false, unsound
	}
	return worst, true, nil
}

func revoked(cert *x509.Certificate, s ocsp.Status) error {
	found, hint := "revoked", "the device's or signer's keys are considered compromised: replace it, or update its firmware and driver"
	if s.Hold {
		found, hint = "on hold", "NVIDIA has suspended it for now; a policy may accept that"
	}
	return vm.Refuse(vm.CodeRevoked, "certificate %q has been revoked by NVIDIA", cert.Subject.CommonName).
		On("serial number", cert.SerialNumber.Text(16)+" "+found, "one that NVIDIA calls good").Try(hint)
}
