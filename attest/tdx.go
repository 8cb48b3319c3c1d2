package attest

import (
	"crypto/x509"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// verifyTDX checks a TDX quote: first whether it is genuine, bottom up from
// the root, then whether the policy accepts what it says. Every step needs the
// ones before it.
func (m *memory) verifyTDX(ev vm.Evidence, o Options) (v vm.Verdict, err error) {
	// What it claims.
	quote, err := tdx.Decode(ev.Quote)
	if err != nil {
		return v, err
	}
	// Whose platform signed it.
	check := pki.NewChecker(o.roots(IntelRoot()), o.Time)
	platform, valid, err := m.checkPCK(check, quote.Signature.PCKChain)
	if err != nil {
		return v, err
	}
	// That the platform's quoting enclave vouches for the key that signed these very bytes.
	if err := m.checkSignatures(&quote.Signature, quote.Signed(), platform); err != nil {
		return v, err
	}
	// That the host cannot look into or move the machine.
	if err := checkBody(&quote, &o.Policy); err != nil {
		return v, err
	}
	// Which machine it is, if that matters.
	if err := o.Policy.checkHardware(platform.id); err != nil {
		return v, err
	}
	// What Intel says about this platform today, and what that means for it.
	shown := shown{aboutTDX, &quote.Signature.QEReport, &quote.Body}
	state, err := m.appraise(check, ev.Collateral, platform, shown, &o.Policy)
	if err != nil {
		return v, err
	}
	// What the machine did since its launch.
	if err := checkEvents(ev.Events, quote.Body.RTMR[vm.RuntimeRegister]); err != nil {
		return v, err
	}
	// What its firmware and boot loader did.
	boot, err := readBootLog(ev.BootLog, quote.Body.RTMR)
	if err != nil {
		return v, err
	}
	v = intelVerdict(platform, state, valid, o.Time)
	v.Measurement = quote.Body.Measurement()
	v.ReportData = quote.Body.ReportData[:]
	v.Attributes = quote.Body.TDAttributes
	v.XFAM = quote.Body.XFAM
	v.Events, v.BootLog = ev.Events, boot
	v.Early = m.outlook(check, o, platform, shown)
	return v, nil
}

// platform is what the PCK certificate chain establishes. It is not changed
// afterwards.
type platform struct {
	pck, ca, root *x509.Certificate
	sgx           pki.Extensions
	id            string // names the platform, in hexadecimal
	anchor        vm.Anchor
}

// checkPCK checks the certificate chain inside the quote up to a trusted root.
// It says for how long that holds.
func (m *memory) checkPCK(check *pki.Checker, chain []byte) (p platform, valid span, err error) {
	var key vm.Hash
	if m != nil {
		parts := [][]byte{chain}
		for _, root := range check.Roots {
			parts = append(parts, root.Raw)
		}
		key = keyOf(parts...)
		if p, valid, ok := m.platforms.get(key, check.At); ok {
			return p, valid, nil
		}
	}
	if p, err = readPCK(check, chain); err != nil {
		return p, valid, err
	}
	valid = span{check.From(), check.Until()}
	if m != nil {
		m.platforms.put(key, p, valid)
	}
	return p, valid, nil
}

// readPCK is checkPCK without a memory.
func readPCK(check *pki.Checker, chain []byte) (p platform, err error) {
	const what = "PCK certificate chain"
	certs, err := check.Certificates(what, chain)
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
	if p.sgx, err = pki.ParseExtensions(p.pck); err != nil {
		return p, err
	}
	// Its instance where it may have several packages, else the pseudonym of
	// its one package.
	id := p.sgx.PlatformInstance
	if id == [16]byte{} {
		id = p.sgx.PPID
	}
	p.id, p.anchor = hexOf(id[:]), anchor(p.root)
	return p, nil
}

// intelVerdict is the part of a verdict that is alike for TDX and SGX.
func intelVerdict(p platform, s state, valid span, at time.Time) vm.Verdict {
	v := vm.Verdict{
		TEE:        vm.Soft,
		TCBStatus:  string(s.status),
		Advisories: s.advisories,
		FMSPC:      collateral.Hex(p.sgx.FMSPC[:]).String(),
		Evaluation: s.evaluation,
		HardwareID: p.id,
		Anchor:     p.anchor,
		ValidUntil: valid.join(s.valid).until,
		Stale:      at.After(s.fresh),
	}
	if v.Anchor.Intel {
		v.TEE = vm.TDX
	}
	return v
}
