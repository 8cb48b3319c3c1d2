package attest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// checkBody refuses machines whose attributes let the host in, and bodies that
// claim what no TDX module of Intel's reports.
func checkBody(q *tdx.Quote, policy *Policy) error {
	if err := checkVendor(q.Header.VendorID); err != nil {
		return err
	}
	b := &q.Body
	if b.TDAttributes&tdx.AttributesUnderDebug != 0 {
		return vm.Refuse(vm.CodeDebug, "the machine is under debug: its host can read and change its memory").
			On("TD attributes", fmt.Sprintf("%#016x", b.TDAttributes), "bits 0 to 7 clear").
			Try("boot the machine without the debug attribute; no policy accepts it")
	}
	allowed := tdx.AttributeSEPTVEDisable | policy.Attributes
	switch {
	case b.TDAttributes&^allowed != 0:
		return vm.Refuse(vm.CodeAttributes, "the machine has attributes that the policy does not allow").
			On("TD attributes", fmt.Sprintf("%#016x", b.TDAttributes), fmt.Sprintf("none but %#016x", allowed))
	case b.TDAttributes&tdx.AttributeSEPTVEDisable == 0 && !policy.SEPTVE:
		return vm.Refuse(vm.CodeAttributes, "the host can inject exceptions into the machine: SEPT_VE_DISABLE is off").
			On("TD attributes", fmt.Sprintf("%#016x", b.TDAttributes), fmt.Sprintf("%#016x", allowed))
	case b.XFAM&tdx.XFAMFixed1 != tdx.XFAMFixed1 || b.XFAM&^(tdx.XFAMKnown|policy.XFAM) != 0:
		return vm.Refuse(vm.CodeAttributes, "the machine's extended features are not ones that TDX defines").
			On("XFAM", fmt.Sprintf("%#x", b.XFAM), fmt.Sprintf("%#x and none but %#x", tdx.XFAMFixed1, tdx.XFAMKnown|policy.XFAM)).
			Try("a newer processor may have features that this verifier does not know: name their bits in the policy")
	case !b.MRServiceTD.IsZero():
		return vm.Refuse(vm.CodeAttributes, "a service TD that nobody vouches for is bound to the machine").
			On("MRSERVICETD", b.MRServiceTD.String(), "zero")
	case b.SEAMAttributes != 0:
		return vm.Refuse(vm.CodeModule, "the TDX module has attributes").
			On("SEAMATTRIBUTES", fmt.Sprintf("%#x", b.SEAMAttributes), "0")
	case !b.MRSignerSEAM.IsZero():
		return vm.Refuse(vm.CodeModule, "the TDX module was not signed by Intel").
			On("MRSIGNERSEAM", b.MRSignerSEAM.String(), "zero")
	}
	return nil
}

// checkModule compares the TDX module with what Intel lists for its major
// version (PCS documentation, "Get TDX TCB Info": tdxModule for version 0,
// tdxModuleIdentities above).
func checkModule(b *tdx.Body, major byte, info *collateral.TCBInfo) error {
	want := info.TDXModule
	name := "TDX module"
	if major > 0 {
		name = collateral.ModuleID(major)
		identity, ok := info.ModuleOf(major)
		if !ok {
			return vm.Refuse(vm.CodeModule, "Intel lists no TDX module of this major version for the platform").
				On("TDX module", name, "one of the listed").
				Try("the host runs a TDX module that its platform's TCB info does not know: fetch the collateral again, or load another module")
		}
		want = identity.Module
	}
	if !bytes.Equal(b.MRSignerSEAM[:], want.MRSigner) {
		return vm.Refuse(vm.CodeModule, "%s has another signer than Intel lists", name).
			On("MRSIGNERSEAM", collateral.Hex(b.MRSignerSEAM[:]).String(), want.MRSigner.String())
	}
	attributes := binary.LittleEndian.AppendUint64(make([]byte, 0, 8), b.SEAMAttributes)
	if !maskedEqual(attributes, want.Attributes, want.AttributesMask) {
		return vm.Refuse(vm.CodeModule, "%s has other attributes than Intel lists", name).
			On("SEAMATTRIBUTES", hexOf(attributes), want.Attributes.String()+" under mask "+want.AttributesMask.String())
	}
	return nil
}

// maskedEqual reports whether has and want, of equal length, agree in the bits
// of mask.
func maskedEqual(has, want, mask []byte) bool {
	var differ byte
	for i := range has {
		differ |= (has[i] ^ want[i]) & mask[i]
	}
	return differ == 0
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", b) }
