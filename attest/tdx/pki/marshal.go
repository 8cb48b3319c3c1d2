package pki

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// attribute is one SEQUENCE { OBJECT IDENTIFIER, ANY } of the extension.
type attribute struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

func oid(suffix ...int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, oidSGX...), suffix...)
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
