package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"

	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// Extensions in which an attestation key's certificate names the digest of the
// firmware that holds the key: DICE's older composite device id (Hopper, LS10)
// and its TcbInfo (TCG DICE Attestation Architecture 1.1, 6.1.1; Blackwell).
var (
	oidCompositeID = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}
	oidTCBInfo     = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}
	oidSHA384      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

type fwid struct {
	Algorithm asn1.ObjectIdentifier
	Digest    []byte
}

// checkFWID refuses a report from other firmware than the certificate was
// issued for. Reports of old firmware do not name theirs; the certificate
// always does.
func checkFWID(cert *x509.Certificate, report spdm.Report) error {
	certified, err := certifiedFWIDs(cert)
	if err != nil {
		return err
	}
	reported, ok := report.Opaque.Get(spdm.FieldFWID)
	if !ok {
		return nil
	}
	for _, id := range certified {
		if bytes.Equal(reported, id.Digest) {
			return nil
		}
	}
	return vm.Refuse(vm.CodeChain, "the device's certificate was issued for other firmware than the report is from").
		On("FWID", hex.EncodeToString(reported[:min(len(reported), spdm.DigestSize)]), hex.EncodeToString(certified[0].Digest))
}

func certifiedFWIDs(cert *x509.Certificate) ([]fwid, error) {
	for _, e := range cert.Extensions {
		var ids []fwid
		var err error
		switch {
		case e.Id.Equal(oidCompositeID):
			ids, err = parseCompositeID(e.Value)
		case e.Id.Equal(oidTCBInfo):
			ids, err = parseTCBInfo(e.Value)
		default:
			continue
		}
		if err != nil || len(ids) == 0 {
			return nil, vm.Refuse(vm.CodeMalformed, "certificate %q: its firmware id cannot be read (%v)", cert.Subject.CommonName, err)
		}
		for _, id := range ids {
			if !id.Algorithm.Equal(oidSHA384) || len(id.Digest) != spdm.DigestSize {
				return nil, vm.Refuse(vm.CodeMalformed, "certificate %q: its firmware id is no SHA-384 digest", cert.Subject.CommonName)
			}
		}
		return ids, nil
	}
	return nil, vm.Refuse(vm.CodeChain, "certificate %q is not that of an attestation key: it names no firmware", cert.Subject.CommonName).
		On("extension", "none", oidCompositeID.String()+" or "+oidTCBInfo.String()).
		Try("the device's own certificate must come first in the chain")
}

func parseCompositeID(der []byte) ([]fwid, error) {
	var id struct {
		Version int
		Key     asn1.RawValue
		FWID    fwid
	}
	err := unmarshal(der, &id)
	return []fwid{id.FWID}, err
}

func parseTCBInfo(der []byte) ([]fwid, error) {
	var info struct {
		Vendor     asn1.RawValue `asn1:"tag:0,optional"`
		Model      asn1.RawValue `asn1:"tag:1,optional"`
		Version    asn1.RawValue `asn1:"tag:2,optional"`
		SVN        asn1.RawValue `asn1:"tag:3,optional"`
		Layer      asn1.RawValue `asn1:"tag:4,optional"`
		Index      asn1.RawValue `asn1:"tag:5,optional"`
		FWIDs      []fwid        `asn1:"tag:6,optional"`
		Flags      asn1.RawValue `asn1:"tag:7,optional"`
		VendorInfo asn1.RawValue `asn1:"tag:8,optional"`
		Type       asn1.RawValue `asn1:"tag:9,optional"`
	}
	err := unmarshal(der, &info)
	return info.FWIDs, err
}

func unmarshal(der []byte, to any) error {
	rest, err := asn1.Unmarshal(der, to)
	if err == nil && len(rest) > 0 {
		err = asn1.SyntaxError{Msg: "trailing data"}
	}
	return err
}
