package nvidiatest

import (
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia/rim"
)

// Parts of a reference document, in canonical form.
const (
	scope      = ` xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd"`
	scopeSign  = ` xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`
	scopeRest  = ` xmlns:ns0="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" xmlns:ns2="http://www.w3.org/2001/04/xmlenc#sha384"`
	signedInfo = `<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2006/12/xml-c14n11"></ds:CanonicalizationMethod>` +
		`<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"></ds:SignatureMethod>` +
		`<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>` +
		`<ds:Transform Algorithm="http://www.w3.org/2006/12/xml-c14n11"></ds:Transform></ds:Transforms>` +
		`<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"></ds:DigestMethod><ds:DigestValue>%s</ds:DigestValue></ds:Reference>`
)

// Document is a reference document to be signed.
type Document struct {
	Product, Version string
	Golden           []rim.Golden
	Extra            string // put behind the measurements, in canonical form
	Certs            []*x509.Certificate
}

// DriverRIM is the reference document for the driver of the PKI's GPUs.
func (p *PKI) DriverRIM(golden []rim.Golden) ([]byte, error) {
	return p.RIM(Document{Product: "GH100", Version: Driver, Golden: golden})
}

// VBIOSRIM is that for their firmware.
func (p *PKI) VBIOSRIM(golden []rim.Golden) ([]byte, error) {
	return p.RIM(Document{Product: "GH100", Version: VBIOS, Golden: golden})
}

// RIM writes and signs a reference document. Without certificates it carries
// those of the PKI's signer.
func (p *PKI) RIM(d Document) ([]byte, error) {
	if d.Certs == nil {
		d.Certs = []*x509.Certificate{p.RIMSigner.Cert, p.RIMCA.Cert, p.RIMRoot.Cert}
	}
	begin := `<SoftwareIdentity` + scope + scopeRest + ` name="` + d.Product + `" tagId="development">` + "\n" +
		`<ns0:Entity name="development" role="softwareCreator tagCreator"></ns0:Entity>` +
		`<ns0:Meta colloquialVersion="` + d.Version + `" product="` + d.Product + `"></ns0:Meta>` + "\n" + `<ns0:Payload>`
	for _, g := range d.Golden {
		hashes := ""
		for i, v := range g.Values {
			hashes += fmt.Sprintf(` ns2:Hash%d="%x"`, i, v)
		}
		begin += fmt.Sprintf(`<ns0:Resource active="True" alternatives="%d" index="%d" name="Measurement_%d" size="48" type="Measurement"%s></ns0:Resource>`,
			len(g.Values), g.Index, g.Index, hashes)
	}
	begin += d.Extra + "</ns0:Payload>\n"
	const end = `</SoftwareIdentity>`
	digest := sha512.Sum384([]byte(begin + end))
	info := fmt.Sprintf(signedInfo, base64.StdEncoding.EncodeToString(digest[:]))
	signature, err := sign(p.RIMSigner.Key, []byte(`<ds:SignedInfo`+scope+scopeSign+scopeRest+`>`+info+`</ds:SignedInfo>`))
	if err != nil {
		return nil, err
	}
	var certs strings.Builder
	for _, c := range d.Certs {
		certs.WriteString(`<ds:X509Certificate>` + base64.StdEncoding.EncodeToString(c.Raw) + `</ds:X509Certificate>`)
	}
	return []byte(begin + `<ds:Signature` + scopeSign + `><ds:SignedInfo>` + info + `</ds:SignedInfo><ds:SignatureValue>` +
		base64.StdEncoding.EncodeToString(signature) + `</ds:SignatureValue><ds:KeyInfo><ds:X509Data>` + certs.String() +
		`</ds:X509Data></ds:KeyInfo></ds:Signature>` + end), nil
}
