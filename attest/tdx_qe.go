package attest

import (
	"bytes"
	"fmt"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// checkQE refuses a quoting enclave that is not the one Intel describes: other
// signer, product, mode or features. How old it may be is judgeTCB's.
func checkQE(report *tdx.EnclaveReport, identity *collateral.QEIdentity) error {
	wrong := func(field, found, wanted string) error {
		return vm.Refuse(vm.CodeQEIdentity, "the quoting enclave is not the one that Intel describes").On(field, found, wanted)
	}
	switch {
	case !bytes.Equal(report.MRSigner[:], identity.MRSigner):
		return wrong("MRSIGNER", hexOf(report.MRSigner[:]), hexOf(identity.MRSigner))
	case int(report.ISVProdID) != identity.ISVProdID:
		return wrong("ISVPRODID", fmt.Sprint(report.ISVProdID), fmt.Sprint(identity.ISVProdID))
	case !maskedEqual(report.MiscSelect[:], identity.MiscSelect, identity.MiscSelectMask):
		return wrong("MISCSELECT", hexOf(report.MiscSelect[:]), hexOf(identity.MiscSelect)+" under mask "+hexOf(identity.MiscSelectMask))
	case !maskedEqual(report.Attributes[:], identity.Attributes, identity.AttributesMask):
		return wrong("ATTRIBUTES", hexOf(report.Attributes[:]), hexOf(identity.Attributes)+" under mask "+hexOf(identity.AttributesMask))
	}
	return nil
}
