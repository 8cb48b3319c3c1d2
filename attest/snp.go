package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// verifySNP checks a SEV-SNP report: first whether it is genuine, bottom up
// from the root, then whether the policy accepts what it says.
func (m *memory) verifySNP(ev vm.Evidence, o Options) (v vm.Verdict, err error) {
	// What it claims.
	report, err := snp.Decode(ev.Quote)
	if err != nil {
		return v, err
	}
	if err := checkNoLog(ev); err != nil {
		return v, err
	}
	// Whose key AMD says that is.
	check := pki.NewChecker(o.roots(snp.Roots()...), o.Time)
	check.Stale = o.Policy.StaleCollateral
	endorsed, err := m.openEndorsement(check, ev.AMD, o.Policy.SNP.WithoutCRL)
	if err != nil {
		return v, err
	}
	// That this key, of this chip at this TCB, signed these very bytes.
	if err := report.SignedBy(endorsed.Key, o.Policy.SNP.MaskedChipID); err != nil {
		return v, err
	}
	product, err := report.Product(endorsed.Key.Line)
	if err != nil {
		return v, err
	}
	// That the host cannot look into or move the machine, and that it is one
	// that was asked for.
	if err := checkGuest(&report, &o.Policy.SNP); err != nil {
		return v, err
	}
	if err := checkPlatform(&report, endorsed.Key, product, &o.Policy); err != nil {
		return v, err
	}
	// How current its firmware is.
	state, err := judgeSNP(&report, product, &o.Policy, o.Time)
	if err != nil {
		return v, err
	}
	v = vm.Verdict{
		TEE:        vm.Soft,
		ReportData: report.ReportData[:],
		TCBStatus:  string(state.status),
		Advisories: state.advisories,
		Anchor:     anchor(endorsed.Root),
		ValidUntil: endorsed.valid.until,
		Stale:      !endorsed.fresh.IsZero() && o.Time.After(endorsed.fresh),
		HardwareID: report.Hardware(endorsed.Key),
		SNP:        snpFacts(&report, product),
	}
	if v.Anchor.Vendor == vendorAMD {
		v.TEE = vm.SNP
	}
	return v, nil
}

const vendorAMD = "AMD"

// isAMD reports whether root is one of AMD's production roots.
func isAMD(root *x509.Certificate) bool {
	for _, known := range snp.Roots() {
		if bytes.Equal(root.Raw, known.Raw) {
			return true
		}
	}
	return false
}

// checkNoLog refuses logs beside a report: there is no register that they
// could explain.
func checkNoLog(ev vm.Evidence) error {
	if len(ev.Events) > 0 || len(ev.BootLog) > 0 {
		return vm.Refuse(vm.CodeEvents, "SEV-SNP has no registers that an event list or boot log could explain").
			Try("leave the lists out: on SEV-SNP, all that is measured is in the launch digest and HOST_DATA")
	}
	return nil
}

// endorsement is an endorsement key that AMD vouches for, and for how long.
type endorsement struct {
	snp.Endorsement
	valid span
	fresh time.Time // nextUpdate of the revocation list, or zero
}

// openEndorsement checks the certificates beside the report, or remembers that
// they were found to be genuine.
func (m *memory) openEndorsement(check *pki.Checker, c *vm.AMDCollateral, noCRL bool) (e endorsement, err error) {
	var key vm.Hash
	if m != nil && c != nil {
		var terms [9]byte
		binary.LittleEndian.PutUint64(terms[:], uint64(check.Stale))
		if noCRL {
			terms[8] = 1
		}
		parts := [][]byte{terms[:], c.EndorsementKey, c.Chain, c.CRL}
		for _, root := range check.Roots {
			parts = append(parts, root.Raw)
		}
		key = keyOf(parts...)
		if e, _, ok := m.endorsements.get(key, check.At); ok {
			return e, nil
		}
	}
	if e.Endorsement, err = snp.Open(check, c, noCRL); err != nil {
		return e, err
	}
	e.valid, e.fresh = span{check.From(), check.Until()}, check.Fresh()
	if m != nil {
		m.endorsements.put(key, e, e.valid)
	}
	return e, nil
}

// snpFacts is what the report says beyond report data.
func snpFacts(r *snp.Report, product snp.Product) *vm.SNPFacts {
	return &vm.SNPFacts{
		Version:      r.Version,
		Product:      string(product),
		Measurement:  r.Measurement,
		HostData:     r.HostData,
		Policy:       uint64(r.Policy),
		PlatformInfo: uint64(r.Platform),
		VMPL:         r.VMPL,
		GuestSVN:     r.GuestSVN,
		FamilyID:     r.FamilyID,
		ImageID:      r.ImageID,
		IDKey:        r.IDKey,
		AuthorKey:    r.AuthorKey,
		ReportedTCB:  r.ReportedTCB,
		CommittedTCB: r.CommittedTCB,
		CurrentTCB:   r.CurrentTCB,
		LaunchTCB:    r.LaunchTCB,
		Firmware:     r.Current.String(),
		SignedBy:     r.Signer.String(),
	}
}

// checkPlatform refuses products, machines and providers that the policy does
// not name.
func checkPlatform(r *snp.Report, k snp.Key, product snp.Product, policy *Policy) error {
	p := &policy.SNP
	switch {
	case len(p.Products) > 0 && !contains(p.Products, product):
		return vm.Refuse(vm.CodeHardware, "the machine runs on a product that the policy does not name").On("product", string(product), fmt.Sprint(p.Products))
	case k.Signer == snp.VLEK && len(p.Providers) > 0 && !contains(p.Providers, k.Provider):
		return vm.Refuse(vm.CodeHardware, "the machine runs at a provider that the policy does not name").On("CSP_ID", k.Provider, fmt.Sprint(p.Providers))
	}
	return policy.checkHardware(r.Hardware(k))
}
