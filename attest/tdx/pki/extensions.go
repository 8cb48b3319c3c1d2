package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Components is the number of SVNs in a TCB.
const Components = 16

// Extensions is what a PCK certificate says about its platform, from the X.509
// extension 1.2.840.113741.1.13.1 (profile specification, 1.3.5).
type Extensions struct {
	PPID    [16]byte        // .1: pseudonym of the platform
	SVN     [Components]int // .2.1–.2.16: security versions of the SGX TCB's components
	PCESVN  int             // .2.17: of the provisioning certification enclave
	CPUSVN  [16]byte        // .2.18: the raw value that SVN decodes
	PCEID   [2]byte         // .3
	FMSPC   [6]byte         // .4: family, model, stepping, platform type, custom SKU
	SGXType int             // .5: 0 standard, 1 scalable, 2 scalable with integrity

	// Multi-package platforms only, which the Platform CA certifies.
	PlatformInstance [16]byte // .6: zero where the certificate has none
	Configuration    [3]bool  // .7: dynamic platform, cached keys, SMT
}

var (
	oidSGX      = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	oidTCBCount = 18
)

// attribute is one SEQUENCE { OBJECT IDENTIFIER, ANY } of the extension.
type attribute struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

func oid(suffix ...int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, oidSGX...), suffix...)
}

// ParseExtensions reads the SGX extensions of a PCK certificate.
func ParseExtensions(cert *x509.Certificate) (e Extensions, err error) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSGX) {
			continue
		}
		fields, err := attributes("SGX extension", ext.Value)
		if err != nil {
			return e, err
		}
		return e, e.read(fields)
	}
	return e, vm.Refuse(vm.CodeMalformed, "PCK certificate has no SGX extension %v", oidSGX)
}

func (e *Extensions) read(fields map[string]asn1.RawValue) error {
	if err := octets(fields, oid(1), e.PPID[:]); err != nil {
		return err
	}
	if err := octets(fields, oid(3), e.PCEID[:]); err != nil {
		return err
	}
	if err := octets(fields, oid(4), e.FMSPC[:]); err != nil {
		return err
	}
	kind, ok := fields[oid(5).String()]
	if !ok || kind.Tag != asn1.TagEnum || len(kind.Bytes) != 1 {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %v (SGX type) is missing or not a short ENUMERATED", oid(5))
	}
	e.SGXType = int(kind.Bytes[0])
	if err := e.readPlatform(fields); err != nil {
		return err
	}
	tcb, ok := fields[oid(2).String()]
	if !ok {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %v (TCB) is missing", oid(2))
	}
	return e.readTCB(tcb.FullBytes)
}

// readPlatform reads the optional fields.
func (e *Extensions) readPlatform(fields map[string]asn1.RawValue) error {
	if _, ok := fields[oid(6).String()]; ok {
		if err := octets(fields, oid(6), e.PlatformInstance[:]); err != nil {
			return err
		}
	}
	configuration, ok := fields[oid(7).String()]
	if !ok {
		return nil
	}
	flags, err := attributes("configuration of the SGX extension", configuration.FullBytes)
	if err != nil {
		return err
	}
	for i := range e.Configuration {
		if flag, ok := flags[oid(7, i+1).String()]; ok {
			rest, err := asn1.Unmarshal(flag.FullBytes, &e.Configuration[i])
			if err != nil || len(rest) > 0 {
				return vm.Refuse(vm.CodeMalformed, "SGX extension %v is not a BOOLEAN", oid(7, i+1))
			}
		}
	}
	return nil
}

func (e *Extensions) readTCB(der []byte) error {
	fields, err := attributes("TCB of the SGX extension", der)
	if err != nil {
		return err
	}
	if len(fields) != oidTCBCount {
		return vm.Refuse(vm.CodeMalformed, "TCB of the SGX extension has %d fields, want %d", len(fields), oidTCBCount)
	}
	for i := range e.SVN {
		if err := integer(fields, oid(2, i+1), &e.SVN[i]); err != nil {
			return err
		}
	}
	if err := integer(fields, oid(2, 17), &e.PCESVN); err != nil {
		return err
	}
	return octets(fields, oid(2, 18), e.CPUSVN[:])
}

// attributes reads a SEQUENCE OF attribute without repetitions.
func attributes(what string, der []byte) (map[string]asn1.RawValue, error) {
	var list []attribute
	rest, err := asn1.Unmarshal(der, &list)
	if err != nil || len(rest) > 0 {
		return nil, vm.Refuse(vm.CodeMalformed, "%s is not one SEQUENCE of attributes", what)
	}
	fields := make(map[string]asn1.RawValue, len(list))
	for _, a := range list {
		if _, twice := fields[a.ID.String()]; twice {
			return nil, vm.Refuse(vm.CodeMalformed, "%s names %v twice", what, a.ID)
		}
		fields[a.ID.String()] = a.Value
	}
	return fields, nil
}

func octets(fields map[string]asn1.RawValue, id asn1.ObjectIdentifier, to []byte) error {
	v, ok := fields[id.String()]
	if !ok || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagOctetString || len(v.Bytes) != len(to) {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %v is missing or not an OCTET STRING of %d bytes", id, len(to))
	}
	copy(to, v.Bytes)
	return nil
}

func integer(fields map[string]asn1.RawValue, id asn1.ObjectIdentifier, to *int) error {
	v, ok := fields[id.String()]
	var n int
	if ok {
		rest, err := asn1.Unmarshal(v.FullBytes, &n)
		ok = err == nil && len(rest) == 0
	}
	if !ok || n < 0 || n > 0xffff {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %v is missing or not an INTEGER of 16 bits", id)
	}
	*to = n
	return nil
}

// Marshal makes the X.509 extension that ParseExtensions reads.
func (e Extensions) Marshal() (pkix.Extension, error) {
	var tcb []attribute
	for i, svn := range e.SVN {
		tcb = append(tcb, attribute{oid(2, i+1), raw(svn)})
	}
	tcb = append(tcb, attribute{oid(2, 17), raw(e.PCESVN)}, attribute{oid(2, 18), raw(e.CPUSVN[:])})
	fields := []attribute{
		{oid(1), raw(e.PPID[:])},
		{oid(2), raw(tcb)},
		{oid(3), raw(e.PCEID[:])},
		{oid(4), raw(e.FMSPC[:])},
		{oid(5), raw(asn1.Enumerated(e.SGXType))},
	}
	if e.PlatformInstance != [16]byte{} {
		fields = append(fields, attribute{oid(6), raw(e.PlatformInstance[:])}, attribute{oid(7), raw(e.flags())})
	}
	der, err := asn1.Marshal(fields)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encode SGX extensions: %w", err)
	}
	return pkix.Extension{Id: oidSGX, Value: der}, nil
}

func (e Extensions) flags() (flags []attribute) {
	for i, on := range e.Configuration {
		flags = append(flags, attribute{oid(7, i+1), raw(on)})
	}
	return flags
}

// raw encodes v, which is an integer, a flag, bytes or a list of attributes: types
// that asn1 always encodes.
func raw(v any) asn1.RawValue {
	der, err := asn1.Marshal(v)
	if err != nil {
		panic("pki: " + err.Error())
	}
	return asn1.RawValue{FullBytes: der}
}
