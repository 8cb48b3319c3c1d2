package attest

import (
	"fmt"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// verifySGX checks a quote of an SGX enclave, such as a provider of keys
// shows. The steps are those of verifyTDX; there is no launch to measure and
// no event list.
func (m *memory) verifySGX(ev vm.Evidence, o Options) (v vm.Verdict, err error) {
	// What it claims.
	quote, err := tdx.DecodeSGX(ev.Quote)
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
	// That the host cannot look into the enclave.
	if err := checkEnclave(&quote, ev); err != nil {
		return v, err
	}
	// Which machine it is, if that matters.
	if err := o.Policy.checkHardware(platform.id); err != nil {
		return v, err
	}
	// What Intel says about this platform today, and what that means for it.
	shown := shown{aboutSGX, &quote.Signature.QEReport, nil}
	state, err := m.appraise(check, ev.Collateral, platform, shown, &o.Policy)
	if err != nil {
		return v, err
	}
	v = intelVerdict(platform, state, valid, o.Time)
	if v.TEE == vm.TDX {
		v.TEE = vm.SGX
	}
	r := &quote.Report
	v.ReportData = r.ReportData[:]
	v.SGX = &vm.SGXFacts{
		MREnclave: r.MREnclave, MRSigner: r.MRSigner, ProductID: r.ISVProdID, SVN: r.ISVSVN, Attributes: r.Attributes,
	}
	v.Early = m.outlook(check, o, platform, shown)
	return v, nil
}

// checkEnclave refuses enclaves that the host can look into, and events, which
// no enclave has registers for.
func checkEnclave(q *tdx.SGXQuote, ev vm.Evidence) error {
	if err := checkVendor(q.Header.VendorID); err != nil {
		return err
	}
	flags := q.Report.Attributes[0]
	switch {
	case flags&tdx.EnclaveDebug != 0:
		return vm.Refuse(vm.CodeDebug, "the enclave is under debug: its host can read and change its memory").
			On("ATTRIBUTES", hexOf(q.Report.Attributes[:]), "bit 1 clear").Try("no policy accepts it: load a production enclave")
	case flags&tdx.EnclaveInitialised == 0:
		return vm.Refuse(vm.CodeAttributes, "the enclave is not initialised").On("ATTRIBUTES", hexOf(q.Report.Attributes[:]), "bit 0 set")
	case len(ev.Events) > 0:
		return vm.Refuse(vm.CodeEvents, "an SGX enclave has no registers that events explain").On("events", fmt.Sprint(len(ev.Events)), "none")
	}
	return nil
}
