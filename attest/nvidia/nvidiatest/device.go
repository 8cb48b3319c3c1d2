package nvidiatest

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"

	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// What devices of the PKI say about themselves.
const (
	Driver       = "999.01.02"
	VBIOS        = "96.00.9F.00.01"
	SKU          = "1010_0200_882"
	Switch       = "96.10.55.00.01"
	Measurements = 64 // in a report
)

// Device is a GPU or switch.
type Device struct {
	Kind, Chip string
	Chain      []Credential // attestation key, boot ROM, identity CA, root
	FWID       [spdm.DigestSize]byte
}

// Device makes a device with a boot ROM and an attestation key of its own.
func (p *PKI) Device(kind, chip string) (*Device, error) {
	d := &Device{Kind: kind, Chip: chip, FWID: [spdm.DigestSize]byte{0xF1, 0xD}}
	rom, err := p.Issue(Template(p.At, chip+" A01 GSP BROM", true), &p.Identity)
	if err != nil {
		return nil, err
	}
	template := Template(p.At, chip+" A01 GSP FMC LF", false)
	extension, err := d.firmwareID(rom.Cert.RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = []pkix.Extension{extension}
	leaf, err := p.Issue(template, &rom)
	if err != nil {
		return nil, err
	}
	d.Chain = []Credential{leaf, rom, p.Identity, p.DeviceRoot}
	return d, nil
}

// firmwareID is the composite device id; the key in it has no meaning here.
func (d *Device) firmwareID(key []byte) (pkix.Extension, error) {
	type fwid struct {
		Algorithm asn1.ObjectIdentifier
		Digest    []byte
	}
	der, err := asn1.Marshal(struct {
		Version int
		Key     asn1.RawValue
		FWID    fwid
	}{1, asn1.RawValue{FullBytes: key}, fwid{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, d.FWID[:]}})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("firmware id: %w", err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}, Value: der}, nil
}

// Serial is the serial number of the attestation key's certificate, decimal.
func (d *Device) Serial() string { return d.Chain[0].Cert.SerialNumber.String() }

// Certs are the certificates of the device's chain, leaf first.
func (d *Device) Certs() []*x509.Certificate {
	var certs []*x509.Certificate
	for _, c := range d.Chain {
		certs = append(certs, c.Cert)
	}
	return certs
}

// Measurement is what a device measures at an index, which counts from 0.
func Measurement(index int) []byte {
	return bytes.Repeat([]byte{byte(index + 1)}, spdm.DigestSize)
}

// Report is an unsigned report over a nonce.
func (d *Device) Report(nonce []byte) spdm.Report {
	r := spdm.Report{RequestNonce: [32]byte(nonce), ResponseNonce: [32]byte{7}}
	for i := range Measurements {
		r.Blocks = append(r.Blocks, spdm.Block{Index: byte(i + 1), Type: 1, Value: Measurement(i)})
	}
	add := func(f spdm.Field, value string) {
		r.Opaque.Entries = append(r.Opaque.Entries, spdm.Entry{Field: f, Value: []byte(value)})
	}
	if d.Kind == "switch" {
		add(spdm.FieldVBIOS, Switch+"\x00")
	} else {
		add(spdm.FieldVBIOS, "\x00\x9f\x00\x96\x01\x00\x00\x00")
		add(spdm.FieldDriver, Driver+"\x00")
		add(spdm.FieldProject, "1010\x00")
		add(spdm.FieldProjectSKU, "0200\x00")
		add(spdm.FieldChipSKU, "882\x00")
		add(spdm.FieldNVDEC0, "\xaa")
	}
	add(spdm.FieldFWID, string(d.FWID[:]))
	return r
}

// Evidence is what the device shows for a nonce, with the report changed before
// it is signed.
func (d *Device) Evidence(nonce []byte, change func(*spdm.Report)) (vm.GPUDevice, error) {
	r := d.Report(nonce)
	if change != nil {
		change(&r)
	}
	unsigned := spdm.Encode(r)
	signature, err := sign(d.Chain[0].Key, unsigned[:len(unsigned)-spdm.SignatureSize])
	if err != nil {
		return vm.GPUDevice{}, err
	}
	r.Signature = [spdm.SignatureSize]byte(signature)
	return vm.GPUDevice{Kind: d.Kind, Evidence: spdm.Encode(r), CertChain: PEM(d.Certs()...)}, nil
}

// PEM encodes certificates.
func PEM(certs ...*x509.Certificate) []byte {
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return b
}

// Golden is what a reference document says of the measurements at some
// indices: that a device measures what it does.
func Golden(indices ...int) []rim.Golden {
	var all []rim.Golden
	for _, i := range indices {
		all = append(all, rim.Golden{Index: i, Values: [][]byte{Measurement(i)}})
	}
	return all
}
