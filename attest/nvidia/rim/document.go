package rim

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

const (
	spaceSWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	spaceHash = "http://www.w3.org/2001/04/xmlenc#sha384"

	digestSize      = 48
	maxIndex        = 253
	maxAlternatives = 64
)

// Document is a reference document whose signature holds. Whether the signer
// is NVIDIA is for Trust to say.
type Document struct {
	Product string // PlatformModel of the chip: "GH100"
	Version string // of the driver or the firmware: "550.90.07", "96.00.9F.00.01"
	TagID   string
	Golden  []Golden // by rising index; measurements that a sound device has
	Certs   []*x509.Certificate
}

// Golden is what a measurement may be.
type Golden struct {
	Index  int // from 0
	Values [][]byte
}

// Open reads a document and refuses it unless its own first certificate's key
// signed all of it. Trust says whether to believe that key.
func Open(b []byte) (Document, error) { return open(b, pki.NewChecker(time.Time{})) }

// OpenTrusted is Open and Trust in one.
func OpenTrusted(b []byte, check *pki.Checker, roots []*x509.Certificate) (Document, error) {
	d, err := open(b, check)
	if err != nil {
		return Document{}, err
	}
	if _, err := d.Trust(check, roots); err != nil {
		return Document{}, err
	}
	return d, nil
}

func open(b []byte, check *pki.Checker) (Document, error) {
	root, err := parse(b)
	if err != nil {
		return Document{}, err
	}
	if !root.is(spaceSWID, "SoftwareIdentity") {
		return Document{}, malformed("its root is %s, want a SWID SoftwareIdentity", root.name)
	}
	seal, err := findSeal(root)
	if err != nil {
		return Document{}, err
	}
	if err := seal.check(root, check); err != nil {
		return Document{}, err
	}
	d, err := read(root)
	d.Certs = seal.certs
	return d, err
}

// Trust refuses the document unless its certificates lead to one of roots at
// the Checker's time, and returns that root.
func (d Document) Trust(check *pki.Checker, roots []*x509.Certificate) (*x509.Certificate, error) {
	return check.Chain("signer of the reference document for "+d.Product+" "+d.Version, d.Certs, roots)
}

// Claim returns what a document says it is about, unchecked: for whoever looks
// which documents are at hand.
func Claim(b []byte) (product, version string, err error) {
	root, err := parse(b)
	if err != nil {
		return "", "", err
	}
	meta, _, err := sections(root)
	if err != nil {
		return "", "", err
	}
	return meta.product, meta.version, nil
}

// Signers returns the certificates that a document carries, unchecked, likewise.
func Signers(b []byte) ([]*x509.Certificate, error) {
	root, err := parse(b)
	if err != nil {
		return nil, err
	}
	seal, err := findSeal(root)
	return seal.certs, err
}

type meta struct{ product, version string }

// sections finds the one Meta and the one Payload of a document.
func sections(root *element) (m meta, payload *element, err error) {
	var found *element
	for _, e := range root.children() {
		switch {
		case e.is(spaceSWID, "Meta") && found == nil:
			found = e
		case e.is(spaceSWID, "Payload") && payload == nil:
			payload = e
		case e.is(spaceSWID, "Meta"), e.is(spaceSWID, "Payload"):
			return m, nil, malformed("it has several elements %s", e.name)
		}
	}
	if found == nil || payload == nil {
		return m, nil, malformed("it lacks Meta or Payload")
	}
	m.product, _ = found.attribute("", "product")
	m.version, _ = found.attribute("", "colloquialVersion")
	if m.product == "" || m.version == "" || len(m.product) > 64 || len(m.version) > 64 {
		return m, nil, malformed("it does not say which product and version it is about")
	}
	return m, payload, nil
}

func read(root *element) (d Document, err error) {
	m, payload, err := sections(root)
	if err != nil {
		return d, err
	}
	d.Product, d.Version = m.product, m.version
	d.TagID, _ = root.attribute("", "tagId")
	last := -1
	for _, e := range payload.children() {
		kind, _ := e.attribute("", "type")
		if !e.is(spaceSWID, "Resource") || kind != "Measurement" {
			// It might be a condition that this code would overlook.
			return d, malformed("its payload holds %s of type %.32q, which is newer than this verifier", e.name, kind)
		}
		golden, active, err := readGolden(e)
		if err != nil {
			return d, err
		}
		if golden.Index <= last {
			return d, malformed("measurement %d comes twice, or out of order", golden.Index)
		}
		if last = golden.Index; active {
			d.Golden = append(d.Golden, golden)
		}
	}
	if len(d.Golden) == 0 {
		return d, vm.Refuse(vm.CodeMalformed, "the reference document for %s %s asks for nothing", d.Product, d.Version)
	}
	return d, nil
}

func readGolden(e *element) (g Golden, active bool, err error) {
	if g.Index, err = number(e, "index", maxIndex); err != nil {
		return g, false, err
	}
	count, err := number(e, "alternatives", maxAlternatives)
	if err != nil {
		return g, false, err
	}
	size, err := number(e, "size", digestSize)
	if err != nil {
		return g, false, err
	}
	state, _ := e.attribute("", "active")
	if count == 0 || size != digestSize || state != "True" && state != "False" {
		return g, false, malformed("measurement %d has %d values of %d bytes, active %.8q", g.Index, count, size, state)
	}
	for i := range count {
		text, _ := e.attribute(spaceHash, "Hash"+strconv.Itoa(i))
		value, err := hex.DecodeString(text)
		if err != nil || len(value) != digestSize {
			return g, false, malformed("value %d of measurement %d is no SHA-384 digest", i, g.Index)
		}
		g.Values = append(g.Values, value)
	}
	return g, state == "True", nil
}

// number reads an attribute that holds a number up to limit.
func number(e *element, local string, limit int) (int, error) {
	text, _ := e.attribute("", local)
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || int(n) > limit {
		return 0, malformed("a measurement's %s is %.16q, want a number up to %d", local, text, limit)
	}
	return int(n), nil
}

// Allows reports whether a measurement may have the value.
func (g Golden) Allows(value []byte) bool {
	return slices.ContainsFunc(g.Values, func(v []byte) bool { return bytes.Equal(v, value) })
}
