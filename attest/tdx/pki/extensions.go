package pki

import (
	"bytes"
	"crypto/x509"
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
	oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	derSGX = []byte{0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01} // the same, as in DER
)

// Fields of the extension, by the last number of their identifier.
const (
	fieldPPID = iota + 1
	fieldTCB
	fieldPCEID
	fieldFMSPC
	fieldSGXType
	fieldPlatformInstance
	fieldConfiguration

	maxFields = 18 // of the TCB: 16 components, PCESVN, CPUSVN
)

// fields are the values of a SEQUENCE OF SEQUENCE { OBJECT IDENTIFIER, ANY }
// whose identifiers begin alike and end in 1 to 18.
type fields struct {
	under string // the identifiers' beginning, for messages
	all   [maxFields + 1]struct {
		tag     byte
		content []byte
		there   bool
	}
}

// ParseExtensions reads the SGX extensions of a PCK certificate.
func ParseExtensions(cert *x509.Certificate) (e Extensions, err error) {
	for i := range cert.Extensions {
		if !cert.Extensions[i].Id.Equal(oidSGX) {
			continue
		}
		content, ok := takeOnly(cert.Extensions[i].Value, tagSequence)
		if !ok {
			return e, vm.Refuse(vm.CodeMalformed, "SGX extension is not one SEQUENCE of attributes")
		}
		return e, e.read(content)
	}
	return e, vm.Refuse(vm.CodeMalformed, "PCK certificate has no SGX extension %v", oidSGX)
}

func (e *Extensions) read(content der) error {
	var f fields
	if err := f.read("SGX extension", "", content); err != nil {
		return err
	}
	for _, field := range []struct {
		number int
		to     []byte
	}{{fieldPPID, e.PPID[:]}, {fieldPCEID, e.PCEID[:]}, {fieldFMSPC, e.FMSPC[:]}} {
		if err := f.octets(field.number, field.to); err != nil {
			return err
		}
	}
	kind := f.all[fieldSGXType]
	if !kind.there || kind.tag != tagEnumerated || len(kind.content) != 1 || kind.content[0] >= 0x80 {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %s (SGX type) is missing or not a short ENUMERATED", f.name(fieldSGXType))
	}
	e.SGXType = int(kind.content[0])
	if f.all[fieldPlatformInstance].there {
		if err := f.octets(fieldPlatformInstance, e.PlatformInstance[:]); err != nil {
			return err
		}
	}
	if err := e.readConfiguration(&f); err != nil {
		return err
	}
	return e.readTCB(&f)
}

// readConfiguration reads the flags of a multi-package platform.
func (e *Extensions) readConfiguration(outer *fields) error {
	configuration := outer.all[fieldConfiguration]
	if !configuration.there {
		return nil
	}
	if configuration.tag != tagSequence {
		return vm.Refuse(vm.CodeMalformed, "configuration of the SGX extension is not one SEQUENCE of attributes")
	}
	var f fields
	if err := f.read("configuration of the SGX extension", ".7", configuration.content); err != nil {
		return err
	}
	for i := range e.Configuration {
		flag := f.all[i+1]
		if !flag.there {
			continue
		}
		if flag.tag != tagBoolean || len(flag.content) != 1 || (flag.content[0] != 0 && flag.content[0] != 0xff) {
			return vm.Refuse(vm.CodeMalformed, "SGX extension %s is not a BOOLEAN", f.name(i+1))
		}
		e.Configuration[i] = flag.content[0] != 0
	}
	return nil
}

func (e *Extensions) readTCB(outer *fields) error {
	tcb := outer.all[fieldTCB]
	if !tcb.there || tcb.tag != tagSequence {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %s (TCB) is missing", outer.name(fieldTCB))
	}
	var f fields
	if err := f.read("TCB of the SGX extension", ".2", tcb.content); err != nil {
		return err
	}
	for i := range e.SVN {
		if err := f.integer(i+1, &e.SVN[i]); err != nil {
			return err
		}
	}
	if err := f.integer(Components+1, &e.PCESVN); err != nil {
		return err
	}
	return f.octets(Components+2, e.CPUSVN[:])
}

// read fills f from the content of a SEQUENCE. Attributes with other
// identifiers are passed over; none may be there twice.
func (f *fields) read(what, under string, content der) error {
	f.under = under
	prefix := derSGX
	if under != "" {
		prefix = append(derSGX[:len(derSGX):len(derSGX)], under[1]-'0')
	}
	for len(content) > 0 {
		attribute, ok := content.take(tagSequence)
		pair := der(attribute)
		id, ok2 := pair.take(tagObjectID)
		tag, value, _, ok3 := pair.next()
		if !ok || !ok2 || !ok3 || len(pair) > 0 {
			return vm.Refuse(vm.CodeMalformed, "%s is not one SEQUENCE of attributes", what)
		}
		last, ok := bytes.CutPrefix(id, prefix)
		if !ok || len(last) != 1 || last[0] == 0 || last[0] > maxFields {
			continue
		}
		field := &f.all[last[0]]
		if field.there {
			return vm.Refuse(vm.CodeMalformed, "%s names %s twice", what, f.name(int(last[0])))
		}
		field.tag, field.content, field.there = tag, value, true
	}
	return nil
}

// name is the identifier of a field in full.
func (f *fields) name(number int) string { return fmt.Sprintf("%v%s.%d", oidSGX, f.under, number) }

func (f *fields) octets(number int, to []byte) error {
	field := f.all[number]
	if !field.there || field.tag != tagOctetString || len(field.content) != len(to) {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %s is missing or not an OCTET STRING of %d bytes", f.name(number), len(to))
	}
	copy(to, field.content)
	return nil
}

func (f *fields) integer(number int, to *int) error {
	field := f.all[number]
	n := field.content
	if !field.there || field.tag != tagInteger || !minimalInteger(n) || n[0] >= 0x80 || len(n) > 3 || (len(n) == 3 && n[0] != 0) {
		return vm.Refuse(vm.CodeMalformed, "SGX extension %s is missing or not an INTEGER of 16 bits", f.name(number))
	}
	*to = 0
	for _, c := range n {
		*to = *to<<8 | int(c)
	}
	return nil
}
