package snp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Key is an endorsement key: what its certificate says (57230, "VCEK and VLEK
// Certificate", extensions below 1.3.6.1.4.1.3704.1).
type Key struct {
	Signer   Signer
	Line     Line
	TCB      TCB
	ChipID   []byte // VCEK: 64 bytes, of Turin 8
	Provider string // VLEK: the cloud provider that it was made for
	Public   *ecdsa.PublicKey
}

// Common names of endorsement keys.
const (
	nameVCEK = "SEV-VCEK"
	nameVLEK = "SEV-VLEK"
)

// maxExtension bounds the suffixes: .1 to .5, and .3.1 to .3.9.
const maxExtension = 9

// fields are the AMD extensions of a certificate: direct children of the arc,
// and those of its third child, the TCB.
type fields struct {
	top, tcb [maxExtension + 1][]byte
}

var arc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}

// ParseKey reads an endorsement key's certificate. Who signed it is not looked
// at.
func ParseKey(cert *x509.Certificate) (k Key, err error) {
	switch cert.Subject.CommonName {
	case nameVCEK:
		k.Signer = VCEK
	case nameVLEK:
		k.Signer = VLEK
	default:
		return k, vm.Refuse(vm.CodeChain, "the certificate beside the report is not that of an endorsement key").
			On("common name", cert.Subject.CommonName, nameVCEK+" or "+nameVLEK)
	}
	var ok bool
	if k.Public, ok = cert.PublicKey.(*ecdsa.PublicKey); !ok || k.Public.Curve != elliptic.P384() {
		return k, vm.Refuse(vm.CodeMalformed, "certificate %q has no P-384 key", cert.Subject.CommonName)
	}
	f, err := readFields(cert)
	if err != nil {
		return k, err
	}
	name, err := f.text(2)
	if err != nil {
		return k, err
	}
	if k.Line, ok = lineOf(name); !ok {
		return k, vm.Refuse(vm.CodeMalformed, "the endorsement key is of a product that is not known").On("product name", name, "Milan, Genoa or Turin")
	}
	if k.TCB, err = f.readTCB(k.Line); err != nil {
		return k, err
	}
	return k, f.readOwner(&k)
}

// readFields collects the AMD extensions. Each may be there once, none other.
func readFields(cert *x509.Certificate) (f fields, err error) {
	for _, ext := range cert.Extensions {
		if len(ext.Id) <= len(arc) || !ext.Id[:len(arc)].Equal(arc) {
			continue
		}
		rest := ext.Id[len(arc):]
		slot := (*[]byte)(nil)
		switch {
		case len(rest) == 1 && rest[0] >= 1 && rest[0] <= 5 && rest[0] != 3:
			slot = &f.top[rest[0]]
		case len(rest) == 2 && rest[0] == 3 && rest[1] >= 1 && rest[1] <= maxExtension:
			slot = &f.tcb[rest[1]]
		default:
			return f, vm.Refuse(vm.CodeMalformed, "certificate %q has an AMD extension %v that is not known", cert.Subject.CommonName, ext.Id)
		}
		if *slot != nil {
			return f, vm.Refuse(vm.CodeMalformed, "certificate %q has the AMD extension %v twice", cert.Subject.CommonName, ext.Id)
		}
		*slot = ext.Value
	}
	return f, nil
}

// readTCB reads the TCB that the key was derived for. Turin has a ninth
// component, FMC, and no fourth; what is reserved must be zero.
func (f *fields) readTCB(line Line) (t TCB, err error) {
	for suffix := 1; suffix <= maxExtension; suffix++ {
		to := map[int]*uint8{1: &t.Bootloader, 2: &t.TEE, 3: &t.SNP, 8: &t.Microcode, 9: &t.FMC}[suffix]
		value := f.tcb[suffix]
		switch {
		case value == nil && (to == nil || suffix == 9 && line != Turin):
			continue // reserved, or not of this product
		case suffix == 9 && line != Turin:
			return t, vm.Refuse(vm.CodeMalformed, "a certificate of %s names an FMC, which it does not have", line)
		}
		n, err := smallInteger(value, suffix)
		if err != nil {
			return t, err
		}
		switch {
		case to != nil:
			*to = n
		case n != 0:
			return t, vm.Refuse(vm.CodeMalformed, "a reserved part of the endorsement key's TCB is not zero").On(fmt.Sprintf("%v.3.%d", arc, suffix), fmt.Sprint(n), "0")
		}
	}
	return t, nil
}

// readOwner reads whose key it is: the chip's, or the provider's.
func (f *fields) readOwner(k *Key) error {
	if k.Signer == VLEK {
		if f.top[4] != nil {
			return vm.Refuse(vm.CodeMalformed, "a VLEK certificate names a chip")
		}
		var err error
		k.Provider, err = f.text(5)
		return err
	}
	want := 64
	if k.Line == Turin {
		want = 8
	}
	// AMD writes the bytes themselves; later certificates an OCTET STRING.
	k.ChipID = f.top[4]
	if inner, ok := bytes.CutPrefix(k.ChipID, []byte{asn1.TagOctetString, byte(want)}); ok && len(inner) == want {
		k.ChipID = inner
	}
	switch {
	case len(k.ChipID) != want:
		return vm.Refuse(vm.CodeMalformed, "chip id of the VCEK certificate has %d bytes, want %d on %s", len(k.ChipID), want, k.Line)
	case f.top[5] != nil:
		return vm.Refuse(vm.CodeMalformed, "a VCEK certificate names a cloud provider")
	}
	return nil
}

// text reads an IA5String.
func (f *fields) text(suffix int) (string, error) {
	b := f.top[suffix]
	if len(b) < 2 || b[0] != asn1.TagIA5String || int(b[1]) != len(b)-2 || b[1] > 127 {
		return "", vm.Refuse(vm.CodeMalformed, "AMD extension %v.%d of the endorsement key is missing or not a short IA5String", arc, suffix)
	}
	for _, c := range b[2:] {
		if c < ' ' || c > '~' {
			return "", vm.Refuse(vm.CodeMalformed, "AMD extension %v.%d of the endorsement key is not plain text", arc, suffix)
		}
	}
	return string(b[2:]), nil
}

// smallInteger reads an INTEGER from 0 to 255 in DER.
func smallInteger(b []byte, suffix int) (uint8, error) {
	switch {
	case len(b) == 3 && b[0] == asn1.TagInteger && b[1] == 1 && b[2] < 0x80:
		return b[2], nil
	case len(b) == 4 && b[0] == asn1.TagInteger && b[1] == 2 && b[2] == 0 && b[3] >= 0x80:
		return b[3], nil
	}
	return 0, vm.Refuse(vm.CodeMalformed, "AMD extension %v.3.%d of the endorsement key is missing or not an INTEGER from 0 to 255", arc, suffix)
}
