package attest

import (
	"crypto/x509"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// verifyTDX checks a TDX quote: first whether it is genuine, bottom up from
// the root, then whether the policy accepts what it says. Every step needs the
// ones before it.
func verifyTDX(ev vm.Evidence, check *pki.Checker, policy Policy) (v vm.Verdict, err error) {
	// What it claims.
	quote, err := tdx.Decode(ev.Quote)
	if err != nil {
		return v, err
	}
	// Whose platform signed it.
	platform, err := checkPCK(check, quote.Signature.PCKChain)
	if err != nil {
		return v, err
	}
	// That the platform's quoting enclave vouches for the key that signed these very bytes.
	if err := checkSignatures(quote, platform.pck); err != nil {
		return v, err
	}
	// That the host cannot look into or move the machine.
	if err := checkBody(quote, policy); err != nil {
		return v, err
	}
	// What Intel says about this platform today.
	said, err := openCollateral(check, ev.Collateral, platform)
	if err != nil {
		return v, err
	}
	// That enclave and module are Intel's, and how current everything is.
	if err := checkQE(quote.Signature.QEReport, said.qe); err != nil {
		return v, err
	}
	if err := checkModule(quote.Body, said.tcb); err != nil {
		return v, err
	}
	state, err := judgeTCB(quote, platform.sgx, said, policy)
	if err != nil {
		return v, err
	}
	// What the machine did since its launch.
	if err := checkEvents(ev.Events, quote.Body.RTMR[vm.RuntimeRegister]); err != nil {
		return v, err
	}
	return verdict(quote, ev.Events, platform, state, check), nil
}

// platform is what the PCK certificate chain establishes.
type platform struct {
	pck, ca, root *x509.Certificate
	sgx           pki.Extensions
}

// checkPCK checks the certificate chain inside the quote up to a trusted root,
// and from then on trusts only that root.
func checkPCK(check *pki.Checker, chain []byte) (p platform, err error) {
	const what = "PCK certificate chain"
	certs, err := pki.ParsePEM(what, chain)
	if err != nil {
		return p, err
	}
	if len(certs) != 3 {
		return p, vm.Refuse(vm.CodeMalformed, "%s has %d certificates, want 3: PCK, its CA, the root", what, len(certs))
	}
	p.pck, p.ca = certs[0], certs[1]
	if p.root, err = check.Chain(what, certs); err != nil {
		return p, err
	}
	if err := pki.Named("PCK certificate", p.pck, pki.NamePCK); err != nil {
		return p, err
	}
	if err := pki.Named("issuer of the PCK certificate", p.ca, pki.NamePlatformCA, pki.NameProcessorCA); err != nil {
		return p, err
	}
	// Collateral signed below another accepted root (a development one) must
	// not speak about this platform.
	check.Roots = []*x509.Certificate{p.root}
	p.sgx, err = pki.ParseExtensions(p.pck)
	return p, err
}

func verdict(q tdx.Quote, events []vm.Event, p platform, s state, check *pki.Checker) vm.Verdict {
	v := vm.Verdict{
		TEE:         vm.Soft,
		Measurement: q.Body.Measurement(),
		ReportData:  q.Body.ReportData[:],
		Attributes:  q.Body.TDAttributes,
		XFAM:        q.Body.XFAM,
		TCBStatus:   string(s.status),
		Advisories:  s.advisories,
		FMSPC:       collateral.Hex(p.sgx.FMSPC[:]).String(),
		Anchor:      anchor(p.root),
		ValidUntil:  check.Until(),
		Events:      events,
	}
	if v.Anchor.Intel {
		v.TEE = vm.TDX
	}
	return v
}
