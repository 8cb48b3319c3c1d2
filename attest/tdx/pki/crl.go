package pki

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// List is a certificate revocation list whose signature and validity have been
// checked (RFC 5280, section 5, in the profile of Intel's PKI). Its entries
// are read where they stand: a list of thousands costs no memory.
type List struct {
	issuer  []byte // the issuer's Name, DER
	name    string // the issuer's common name
	entries []byte // elements SEQUENCE { serial, time, extensions? }, checked
}

// ecdsaWithSHA256 is the AlgorithmIdentifier 1.2.840.10045.4.3.2.
var ecdsaWithSHA256 = []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}

// unsignedList is a parsed CRL before anything in it is trusted.
type unsignedList struct {
	List
	tbs, signature       []byte
	thisUpdate, nextTime time.Time
}

// CRL reads a certificate revocation list in DER and refuses it unless it is
// valid now and signed by issuer, a certificate that was checked before.
func (c *Checker) CRL(what string, b []byte, issuer *x509.Certificate) (*List, error) {
	if len(b) == 0 {
		return nil, vm.Refuse(vm.CodeCollateral, "%s is missing", what)
	}
	list, wrong := parseList(b)
	if wrong != "" {
		return nil, vm.Refuse(vm.CodeMalformed, "%s: %s", what, wrong)
	}
	switch {
	case !bytes.Equal(list.issuer, issuer.RawSubject):
		return nil, vm.Refuse(vm.CodeCollateral, "%s was issued by another CA", what).
			On("issuer", commonName(list.issuer), issuer.Subject.CommonName)
	case issuer.KeyUsage&x509.KeyUsageCRLSign == 0:
		return nil, vm.Refuse(vm.CodeChain, "%s: %q may not sign CRLs", what, issuer.Subject.CommonName)
	}
	if err := c.Current(what, list.thisUpdate, list.nextTime); err != nil {
		return nil, err
	}
	if !signedBy(issuer, x509.ECDSAWithSHA256, list.tbs, list.signature) {
		return nil, unsigned(what, issuer)
	}
	list.name = issuer.Subject.CommonName
	return &list.List, nil
}

// Clone returns a copy that shares no memory with the bytes it was read from.
func (l *List) Clone() *List {
	return &List{bytes.Clone(l.issuer), l.name, bytes.Clone(l.entries)}
}

// parseList reads a CertificateList and says what is wrong with it.
func parseList(b []byte) (l unsignedList, wrong string) {
	outer, ok := takeOnly(b, tagSequence)
	if !ok {
		return l, "not one DER SEQUENCE"
	}
	tag, content, all, ok := outer.next()
	if !ok || tag != tagSequence {
		return l, "no to-be-signed part"
	}
	l.tbs = all
	if !bytes.HasPrefix(outer, ecdsaWithSHA256) {
		return l, "not signed with ECDSA and SHA-256"
	}
	outer = outer[len(ecdsaWithSHA256):]
	bits, ok := outer.take(tagBitString)
	if !ok || len(outer) > 0 || len(bits) < 1 || bits[0] != 0 {
		return l, "signature is not one BIT STRING of whole bytes"
	}
	l.signature = bits[1:]
	return l, l.parse(content)
}

// parse reads the content of TBSCertList.
func (l *unsignedList) parse(tbs der) (wrong string) {
	version, ok := tbs.take(tagInteger)
	if !ok || len(version) != 1 || version[0] != 1 {
		return "not a version 2 CRL"
	}
	if !bytes.HasPrefix(tbs, ecdsaWithSHA256) {
		return "inner and outer signature algorithm differ"
	}
	tbs = tbs[len(ecdsaWithSHA256):]
	tag, _, issuer, ok := tbs.next()
	if !ok || tag != tagSequence {
		return "no issuer"
	}
	l.issuer = issuer
	if l.thisUpdate, ok = tbs.time(); !ok {
		return "thisUpdate is no time"
	}
	if l.nextTime, ok = tbs.time(); !ok {
		return "nextUpdate is missing or no time: the list does not say when it expires"
	}
	if tbs.at(tagSequence) {
		if l.entries, ok = tbs.take(tagSequence); !ok || len(l.entries) == 0 || !checkEntries(l.entries) {
			return "malformed list of revoked certificates"
		}
	}
	if tbs.at(tagExtensions) {
		wrapped, _ := tbs.take(tagExtensions)
		if wrong := checkExtensions(wrapped); wrong != "" {
			return wrong
		}
	}
	if len(tbs) > 0 {
		return "trailing data"
	}
	return ""
}

// checkEntries reports whether every revocation is well-formed.
func checkEntries(entries der) bool {
	for len(entries) > 0 {
		content, ok := entries.take(tagSequence)
		if !ok {
			return false
		}
		entry := der(content)
		serial, ok := entry.take(tagInteger)
		if !ok || !minimalInteger(serial) {
			return false
		}
		// When does not matter (Revoked): the form of a time is enough.
		if tag, at, _, ok := entry.next(); !ok || !timeForm(tag, at) {
			return false
		}
		if len(entry) > 0 && checkExtensions(entry) != "" {
			return false
		}
	}
	return true
}

// checkExtensions reads SEQUENCE OF Extension and says what is wrong. None of
// them changes the meaning of a list here, unless it is critical.
func checkExtensions(b []byte) (wrong string) {
	list, ok := takeOnly(b, tagSequence)
	if !ok {
		return "malformed extensions"
	}
	for len(list) > 0 {
		content, ok := list.take(tagSequence)
		if !ok {
			return "malformed extensions"
		}
		extension := der(content)
		if _, ok := extension.take(tagObjectID); !ok {
			return "malformed extensions"
		}
		if extension.at(tagBoolean) {
			return "an unknown critical extension" // DER leaves out FALSE
		}
		if _, ok := extension.take(tagOctetString); !ok || len(extension) > 0 {
			return "malformed extensions"
		}
	}
	return ""
}

// commonName finds the common name in a Name, for messages.
func commonName(name []byte) string {
	oid := []byte{tagObjectID, 3, 0x55, 0x04, 0x03}
	at := bytes.Index(name, oid)
	if at < 0 {
		return "nobody"
	}
	rest := der(name[at+len(oid):])
	_, content, _, _ := rest.next()
	return string(content[:min(len(content), 64)])
}

// Revoked refuses cert if list, which its issuer signed, names it. An entry
// whose date lies in the future counts too: nobody plans a revocation of a
// sound key.
func Revoked(list *List, cert *x509.Certificate) error {
	if !bytes.Equal(list.issuer, cert.RawIssuer) {
		return vm.Refuse(vm.CodeCollateral, "the CRL of %q says nothing about a certificate of %q", list.name, cert.Issuer.CommonName)
	}
	wanted := serialOf(cert.SerialNumber)
	for entries := der(list.entries); len(entries) > 0; {
		content, _ := entries.take(tagSequence)
		entry := der(content)
		if serial, _ := entry.take(tagInteger); bytes.Equal(serial, wanted) {
			return vm.Refuse(vm.CodeRevoked, "certificate %q has been revoked by its CA", cert.Subject.CommonName).
				On("serial number", cert.SerialNumber.Text(16), "one that is not on the CRL").
				Try("the platform's keys are considered compromised: it needs a TCB recovery and a new certificate")
		}
	}
	return nil
}

// serialOf returns the content of the INTEGER n, which is not negative: a
// certificate's serial number, which x509 has checked.
func serialOf(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) == 0 || b[0] >= 0x80 {
		return append([]byte{0}, b...)
	}
	return b
}
