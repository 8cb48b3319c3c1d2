package rim

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

// The one set of algorithms that NVIDIA signs with (XML Signature Syntax and
// Processing 1.1; RFC 9231). There is no choice, so there is no downgrade.
const (
	spaceSignature  = "http://www.w3.org/2000/09/xmldsig#"
	algCanonical    = "http://www.w3.org/2006/12/xml-c14n11"
	algEnveloped    = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algSignature    = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
	algDigest       = "http://www.w3.org/2001/04/xmldsig-more#sha384"
	maxCertificates = 8
)

// seal is an enveloped signature, taken apart.
type seal struct {
	element    *element // the Signature itself
	signedInfo *element
	digest     []byte // of the document without the Signature
	value      []byte // r ‖ s
	certs      []*x509.Certificate
}

// findSeal returns the one signature of a document, which is a child of its
// root and speaks about all of it.
func findSeal(root *element) (s seal, err error) {
	if s.element, err = onlySignature(root); err != nil {
		return s, err
	}
	parts := s.element.children()
	if err := shape(s.element, parts, "SignedInfo", "SignatureValue", "KeyInfo"); err != nil {
		return s, err
	}
	s.signedInfo = parts[0]
	if s.digest, err = readSignedInfo(s.signedInfo); err != nil {
		return s, err
	}
	if s.value, err = decode64(parts[1]); err != nil {
		return s, err
	}
	s.certs, err = readKeyInfo(parts[2])
	return s, err
}

// onlySignature refuses documents with signatures in other places, or several.
func onlySignature(root *element) (found *element, err error) {
	for todo := []*element{root}; len(todo) > 0; todo = todo[1:] {
		for _, e := range todo[0].children() {
			if e.is(spaceSignature, "Signature") {
				if found != nil || e.parent != root {
					return nil, malformed("it has several signatures, or one that is not directly below the root")
				}
				found = e
				continue // Its content is checked part by part.
			}
			if e.space == spaceSignature {
				return nil, malformed("%s stands outside the signature", e.name)
			}
			todo = append(todo, e)
		}
	}
	if found == nil {
		return nil, vm.Refuse(vm.CodeSignature, "reference document is not signed")
	}
	return found, nil
}

func readSignedInfo(e *element) ([]byte, error) {
	parts := e.children()
	if err := shape(e, parts, "CanonicalizationMethod", "SignatureMethod", "Reference"); err != nil {
		return nil, err
	}
	if err := algorithm(parts[0], algCanonical); err != nil {
		return nil, err
	}
	if err := algorithm(parts[1], algSignature); err != nil {
		return nil, err
	}
	reference := parts[2]
	if uri, ok := reference.attribute("", "URI"); !ok || uri != "" || len(reference.attributes) != 1 {
		return nil, malformed("the signature refers to %.32q, want the whole document (URI=\"\")", uri)
	}
	parts = reference.children()
	if err := shape(reference, parts, "Transforms", "DigestMethod", "DigestValue"); err != nil {
		return nil, err
	}
	if err := algorithm(parts[1], algDigest); err != nil {
		return nil, err
	}
	transforms := parts[0].children()
	if err := shape(parts[0], transforms, "Transform", "Transform"); err != nil {
		return nil, err
	}
	if err := algorithm(transforms[0], algEnveloped); err != nil {
		return nil, err
	}
	if err := algorithm(transforms[1], algCanonical); err != nil {
		return nil, err
	}
	return decode64(parts[2])
}

func readKeyInfo(e *element) ([]*x509.Certificate, error) {
	parts := e.children()
	if err := shape(e, parts, "X509Data"); err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, c := range parts[0].children() {
		if !c.is(spaceSignature, "X509Certificate") || len(certs) == maxCertificates {
			return nil, malformed("X509Data holds %s, or more than %d certificates", c.name, maxCertificates)
		}
		der, err := decode64(c)
		if err != nil {
			return nil, err
		}
		cert, err := pki.Parse("a reference document", der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, malformed("the signature carries no certificate")
	}
	return certs, nil
}

// shape refuses a signature's element whose children are not exactly these.
func shape(e *element, children []*element, locals ...string) error {
	ok := len(children) == len(locals)
	for i := 0; ok && i < len(locals); i++ {
		ok = children[i].is(spaceSignature, locals[i])
	}
	if !ok {
		return malformed("element %s of the signature does not consist of %s", e.name, strings.Join(locals, ", "))
	}
	return nil
}

func algorithm(e *element, want string) error {
	found, _ := e.attribute("", "Algorithm")
	if found != want || len(e.attributes) != 1 || len(e.children()) != 0 {
		return vm.Refuse(vm.CodeSignature, "the signature of a reference document uses another method than NVIDIA's").
			On(e.name.local, found[:min(len(found), 100)], want)
	}
	return nil
}

func decode64(e *element) ([]byte, error) {
	text, err := e.text()
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, malformed("element %s is not base64", e.name)
	}
	return b, nil
}

// check refuses the document of root unless the key of the seal's first
// certificate signed it. The certificates are for the caller to check.
func (s seal) check(root *element, checker *pki.Checker) error {
	digest := sha512.Sum384(canonical(root, s.element))
	if !bytes.Equal(digest[:], s.digest) {
		return vm.Refuse(vm.CodeSignature, "a reference document was changed after it was signed").
			Try("fetch the document again from NVIDIA's RIM service")
	}
	return checker.SignedOnce("a reference document", canonical(s.signedInfo, nil), s.value, s.certs[0])
}
