package snptest

import (
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/secretvm/secretvm/attest/snp"
)

// extensions are those of AMD publication 57230.
func (p *Plan) extensions() (list []pkix.Extension) {
	integer := func(n uint8) []byte {
		if n >= 0x80 {
			return []byte{asn1.TagInteger, 2, 0, n}
		}
		return []byte{asn1.TagInteger, 1, n}
	}
	text := func(s string) []byte { return append([]byte{asn1.TagIA5String, byte(len(s))}, s...) }
	fields := []Field{
		{[]int{1}, integer(0)},
		{[]int{2}, text(p.Product)},
		{[]int{3, 1}, integer(p.TCB.Bootloader)},
		{[]int{3, 2}, integer(p.TCB.TEE)},
		{[]int{3, 3}, integer(p.TCB.SNP)},
		{[]int{3, 5}, integer(0)},
		{[]int{3, 6}, integer(0)},
		{[]int{3, 7}, integer(0)},
		{[]int{3, 8}, integer(p.TCB.Microcode)},
	}
	if p.Line == snp.Turin {
		fields = append(fields, Field{[]int{3, 9}, integer(p.TCB.FMC)})
	} else {
		fields = append(fields, Field{[]int{3, 4}, integer(0)})
	}
	if p.Signer == snp.VLEK {
		fields = append(fields, Field{[]int{5}, text("CN=development")})
	} else {
		fields = append(fields, Field{[]int{4}, p.ChipID})
	}
	if p.Alter != nil {
		fields = p.Alter(fields)
	}
	for _, f := range fields {
		list = append(list, pkix.Extension{Id: append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, f.Suffix...), Value: f.Value})
	}
	return list
}
