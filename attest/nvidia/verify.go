package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// NonceSize is the size of a nonce, in bytes.
const NonceSize = spdm.NonceSize

// Options are the verifier's side.
type Options struct {
	Time  time.Time
	Roots []*x509.Certificate // none: NVIDIA's

	// Unchecked accepts certificates without an answer that they are not
	// revoked; answers that came along count all the same. Hold accepts those
	// that NVIDIA has put on hold. Stale is how long after its end an answer is
	// still taken.
	Unchecked bool
	Hold      bool
	Stale     time.Duration

	// Unmeasured accepts devices whose reference documents are missing. Those
	// that came along count all the same.
	Unmeasured bool

	// Unlinked accepts GPUs in protected PCIe mode without evidence of the
	// switches between them.
	Unlinked bool

	// Memory, if any, makes signatures of certificates, documents and answers
	// cost once only. Verdicts are the same with it.
	Memory pki.Memory
}

// Result is what evidence proves.
type Result struct {
	Devices []Device
	Until   time.Time // the earliest end of validity that was relied upon
}

// Device is one genuine device.
type Device struct {
	Facts  vm.GPUFacts       // without the anchor
	Root   *x509.Certificate // that it rests on
	Serial string            // of the attestation key's certificate, decimal: "ueid" in tokens
	Report spdm.Report
}

// Verify checks the evidence of all devices. Its token is not looked at.
func Verify(ev *vm.GPUEvidence, o Options) (Result, error) {
	v := &verifier{Options: o, check: pki.NewChecker(o.Time)}
	v.check.Memory = o.Memory
	if err := checkBounds(ev); err != nil {
		return Result{}, err
	}
	var err error
	if v.answers, err = parseAnswers(ev.OCSP); err != nil {
		return Result{}, err
	}
	if v.documents, err = parseClaims(ev.RIMs); err != nil {
		return Result{}, err
	}
	var r Result
	seen := map[vm.Hash]int{}
	for i, d := range ev.Devices {
		device, key, err := v.device(d, ev.Nonce)
		if err != nil {
			return Result{}, about(err, i)
		}
		if before, twice := seen[key]; twice {
			return Result{}, vm.Refuse(vm.CodeGPU, "devices %d and %d of the evidence are the same one", before, i).
				On("hardware id", device.Facts.HardwareID, "one that no other device has").
				Try("evidence of one device must not stand for several")
		}
		seen[key] = i
		r.Devices = append(r.Devices, device)
	}
	if !o.Unlinked {
		if err := checkLinks(r.Devices); err != nil {
			return Result{}, err
		}
	}
	r.Until = v.check.Until()
	return r, nil
}

// checkBounds refuses evidence that is missing or larger than documented.
func checkBounds(ev *vm.GPUEvidence) error {
	if len(ev.Nonce) != NonceSize {
		return vm.Refuse(vm.CodeMalformed, "the nonce of the GPU evidence has %d bytes, want %d", len(ev.Nonce), NonceSize)
	}
	if n := len(ev.Devices); n == 0 || n > vm.MaxGPUs {
		return vm.Refuse(vm.CodeTooLarge, "GPU evidence is of %d devices, want 1 to %d", n, vm.MaxGPUs)
	}
	// Two reference documents a device, and an answer for each certificate.
	if len(ev.RIMs) > 4*vm.MaxGPUs || len(ev.OCSP) > 16*vm.MaxGPUs {
		return vm.Refuse(vm.CodeTooLarge, "GPU evidence carries %d reference documents and %d OCSP answers", len(ev.RIMs), len(ev.OCSP))
	}
	size := len(ev.Token)
	for _, d := range ev.Devices {
		size += len(d.Evidence) + len(d.CertChain)
	}
	for _, parts := range [][][]byte{ev.RIMs, ev.OCSP} {
		for _, p := range parts {
			size += len(p)
		}
	}
	if size > vm.MaxGPUSize {
		return vm.Refuse(vm.CodeTooLarge, "GPU evidence has %d bytes, want at most %d", size, vm.MaxGPUSize)
	}
	return nil
}

// verifier is the state of one verification.
type verifier struct {
	Options
	check     *pki.Checker
	answers   []answer
	documents []*document
}

// device checks one device. Key tells it from others.
func (v *verifier) device(d vm.GPUDevice, nonce []byte) (out Device, key vm.Hash, err error) {
	// What it claims.
	report, err := spdm.Decode(d.Evidence)
	if err != nil {
		return out, key, err
	}
	// Whose chip it is, and that NVIDIA did not revoke it.
	certs, err := pki.ParsePEM("the device's certificate chain", d.CertChain)
	if err != nil {
		return out, key, err
	}
	if out.Root, err = v.check.Chain("the device's certificate chain", certs, rootsFor(v.Roots, DeviceRoot(), RIMRoot())); err != nil {
		return out, key, err
	}
	if len(certs) < 3 {
		return out, key, vm.Refuse(vm.CodeChain, "the device's certificate chain has %d certificates, want at least 3", len(certs))
	}
	chip, family, err := chipOf(certs)
	if err != nil {
		return out, key, err
	}
	if d.Kind != family.kind {
		return out, key, vm.Refuse(vm.CodeGPU, "a device is shown as another kind than it is").On("kind", fmt.Sprintf("%.16q", d.Kind), family.kind)
	}
	// The chip itself signs the first certificate, anew for each firmware; NVIDIA's answers begin with the chip's.
	unrevoked, err := v.unrevoked(certs, 1)
	if err != nil {
		return out, key, err
	}
	// That it signed these very bytes, for this very request, with its firmware's own key.
	public, err := pki.Key(certs[0])
	if err != nil {
		return out, key, err
	}
	if err := pki.Signed("the report of the "+chip, report.Signed(), report.Signature[:], public); err != nil {
		return out, key, err
	}
	if !bytes.Equal(report.RequestNonce[:], nonce) {
		return out, key, vm.Refuse(vm.CodeStale, "the report of the %s answers another nonce: it was made for somebody else, or before", chip).
			On("nonce", hex.EncodeToString(report.RequestNonce[:]), hex.EncodeToString(nonce)).
			Try("all devices must be asked with the same fresh nonce")
	}
	if err := checkFWID(certs[0], report); err != nil {
		return out, key, err
	}
	// That it runs what NVIDIA released.
	id, err := identify(chip, family, report.Opaque)
	if err != nil {
		return out, key, err
	}
	measured, documentsUnrevoked, err := v.measured(id, report)
	if err != nil {
		return out, key, err
	}
	out.Facts = vm.GPUFacts{
		Kind: family.kind, Architecture: family.architecture, Model: chip, SKU: id.sku,
		HardwareID: hex.EncodeToString(certs[1].SerialNumber.Bytes()),
		Driver:     id.driver, Firmware: id.firmware, Measured: measured, Unrevoked: unrevoked && documentsUnrevoked,
	}
	out.Serial, out.Report = certs[0].SerialNumber.String(), report
	out.Facts.ProtectedPCIe = protected(out)
	return out, vm.HashOf(certs[1].RawSubjectPublicKeyInfo), nil
}

// about adds to a refusal which device it is about.
func about(err error, index int) error {
	if r, ok := err.(*vm.Refusal); ok { //nolint:errorlint // made here, wrapped by nobody
		r.Reason = fmt.Sprintf("device %d: %s", index, r.Reason)
	}
	return err
}
