package nvidia

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// document is a reference document that came with the evidence. It is opened
// when a device asks for what it claims to be about.
type document struct {
	raw              []byte
	product, version string
	opened           *rim.Document
	unrevoked        bool
}

// parseClaims reads what documents say they are about. Nothing depends on
// those that no device asks for.
func parseClaims(all [][]byte) ([]*document, error) {
	var documents []*document
	for _, raw := range all {
		product, version, err := rim.Claim(raw)
		if err != nil {
			return nil, err
		}
		documents = append(documents, &document{raw: raw, product: product, version: version})
	}
	return documents, nil
}

// fits reports whether a document claims to be about that version for the
// device's chip; documents of another chip may carry the same version. It does
// not name the SKU: firmware of several may have one version.
func (d *document) fits(id identity, r reference) bool {
	product := d.product == id.product || id.kind == KindSwitch && strings.HasPrefix(d.product, id.prefix)
	return product && strings.EqualFold(d.version, r.version)
}

// open checks a document's signature, signer and, once, revocations.
func (v *verifier) open(d *document) error {
	if d.opened != nil {
		return nil
	}
	opened, err := rim.OpenTrusted(d.raw, v.check, rootsFor(v.Roots, RIMRoot(), DeviceRoot()))
	if err != nil {
		return err
	}
	for _, cert := range opened.Certs {
		// NVIDIA signs documents for debug firmware below CAs that say so.
		if strings.Contains(cert.Subject.CommonName, "Debug") {
			return vm.Refuse(vm.CodeChain, "the reference document for %s %s is for debug firmware", d.product, d.version).
				On("signer", cert.Subject.CommonName, "a CA for production")
		}
	}
	if d.unrevoked, err = v.unrevoked(opened.Certs, 0); err != nil {
		return err
	}
	d.opened = &opened
	return nil
}

// measured compares a report with all documents that the device needs.
// Unrevoked reports whether every signer was said to be good.
func (v *verifier) measured(id identity, report spdm.Report) (measured, unrevoked bool, err error) {
	measured, unrevoked = true, true
	expected := map[int]string{} // which document asks for an index
	for _, r := range id.references() {
		found, good, err := v.reference(id, r, report, expected)
		if err != nil {
			return false, false, err
		}
		measured, unrevoked = measured && found, unrevoked && good
	}
	return measured, unrevoked, nil
}

// reference compares a report with the document of one reference. Several may
// fit, of different SKUs; one of them must agree, and the last one's difference
// is reported.
func (v *verifier) reference(id identity, r reference, report spdm.Report, expected map[int]string) (found, unrevoked bool, err error) {
	var difference error
	for _, d := range v.documents {
		if !d.fits(id, r) {
			continue
		}
		if err := v.open(d); err != nil {
			return false, false, err
		}
		if difference = compare(id, r, d.opened.Golden, report); difference != nil {
			continue
		}
		for _, golden := range d.opened.Golden {
			if other, twice := expected[golden.Index]; twice {
				return false, false, vm.Refuse(vm.CodeGPUMeasured, "two reference documents of a device speak about the same measurement").
					On(fmt.Sprintf("measurement %d", golden.Index), "in "+r.id, "in "+other+" only")
			}
			expected[golden.Index] = r.id
		}
		return true, d.unrevoked, nil
	}
	if difference != nil {
		return false, false, difference
	}
	if v.Unmeasured {
		return false, true, nil
	}
	return false, false, vm.Refuse(vm.CodeCollateral, "the reference document for version %s of the %s is missing", r.version, id.chip).
		On("reference document", "none", r.id).
		Try("add it from NVIDIA's RIM service to the evidence (secretvm collateral fetch); for some releases NVIDIA has published none")
}

// videoDecoder is the measurement that has no meaning while the first video
// decoder is off; reports say so under their signature.
const videoDecoder = 35

// compare refuses a report in which a measurement differs from all values that
// a document has for it.
func compare(id identity, r reference, all []rim.Golden, report spdm.Report) error {
	skip := -1
	if id.kind == KindGPU {
		status, _ := report.Opaque.Get(spdm.FieldNVDEC0)
		switch {
		case bytes.Equal(status, []byte{spdm.NVDEC0Off}):
			skip = videoDecoder
		case !bytes.Equal(status, []byte{spdm.NVDEC0On}):
			return vm.Refuse(vm.CodeMalformed, "the report does not say whether the video decoder is on: % .8x", status)
		}
	}
	var refusal *vm.Refusal
	var differ []string
	for _, golden := range all {
		if golden.Index == skip {
			continue
		}
		value, ok := report.Measurement(golden.Index)
		if ok && golden.Allows(value) {
			continue
		}
		differ = append(differ, fmt.Sprint(golden.Index))
		if refusal == nil {
			refusal = vm.Refuse(vm.CodeGPUMeasured, "").On(fmt.Sprintf("measurement %d of %s", golden.Index, r.id), shown(value, ok), wanted(golden)).
				Try("the device runs something else than version " + r.version + " as NVIDIA released it, or was not reset since its mode was changed: reset it, then attest again")
		}
	}
	if refusal == nil {
		return nil
	}
	refusal.Reason = fmt.Sprintf("the %s does not measure what NVIDIA's reference document says; different: %s", id.chip, strings.Join(differ, ", "))
	return refusal
}

func shown(value []byte, ok bool) string {
	if !ok {
		return "absent"
	}
	return hex.EncodeToString(value[:min(len(value), spdm.DigestSize)])
}

// maxShown is how many of a measurement's values a refusal lists.
const maxShown = 4

func wanted(g rim.Golden) string {
	var values []string
	for i, v := range g.Values {
		if i == maxShown {
			values = append(values, fmt.Sprintf("one of %d more", len(g.Values)-i))
			break
		}
		values = append(values, hex.EncodeToString(v))
	}
	return strings.Join(values, " or ")
}
