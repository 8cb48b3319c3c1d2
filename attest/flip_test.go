package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/vm"
)

// documents are the parts of collateral, by name.
func documents(c *vm.Collateral) map[string]*[]byte {
	return map[string]*[]byte{
		"PCK CRL": &c.PCKCRL, "root CRL": &c.RootCACRL, "TCB info": &c.TCBInfo, "QE identity": &c.QEIdentity,
		"TCB info chain": &c.TCBInfoChain, "QE identity chain": &c.QEIdentityChain, "PCK CRL chain": &c.PCKCRLChain,
	}
}

// flipped returns b with one bit of byte i changed.
func flipped(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1 << (i % 8)
	return b
}

// TestFlipAnyByteOfCollateral changes every byte of the TCB info, the QE
// identity and both CRLs, signatures included: each time it is refused.
func TestFlipAnyByteOfCollateral(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	genuine := *ev.Collateral
	for _, name := range []string{"PCK CRL", "root CRL", "TCB info", "QE identity"} {
		t.Run(name, func(t *testing.T) {
			whole := *documents(&genuine)[name]
			spelled := 0 // hexadecimal digits of the signature have two cases
			for i := range whole {
				c := genuine
				*documents(&c)[name] = flipped(whole, i)
				ev.Collateral = &c
				_, err := Verify(ev, b.options)
				if err == nil && sameEnvelope(name, whole, *documents(&c)[name]) {
					spelled++
					continue
				}
				if err == nil || vm.CodeOf(err) == vm.CodeInternal {
					t.Fatalf("byte %d of %d flipped: %v", i, len(whole), err)
				}
			}
			if spelled > 128 {
				t.Errorf("%d flips were other spellings: too many to be digits of one signature", spelled)
			}
		})
	}
}

// sameEnvelope reports whether two documents have the same signed bytes and
// the same signature.
func sameEnvelope(name string, a, b []byte) bool {
	key := map[string]string{"TCB info": collateral.KeyTCBInfo, "QE identity": collateral.KeyQEIdentity}[name]
	if key == "" {
		return false
	}
	innerA, signatureA, errA := collateral.Open(key, a)
	innerB, signatureB, errB := collateral.Open(key, b)
	return errA == nil && errB == nil && signatureA == signatureB && bytes.Equal(innerA, innerB)
}

// TestFlipAnyByteOfCertificates changes every byte of every certificate that
// is relied upon, inside the PEM text: PCK, its CA, the TCB signer. The copies
// of the root are not: the trusted one is used in their place.
func TestFlipAnyByteOfCertificates(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	genuine := *ev.Collateral
	bundle := func(certs ...[]byte) (text []byte) {
		for _, der := range certs {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		return text
	}
	root, ca, pck, signer := b.pki.Root.Cert.Raw, b.pki.PlatformCA.Cert.Raw, b.pki.PCK.Cert.Raw, b.pki.TCBSigner.Cert.Raw
	q, err := tdx.Decode(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	if testing.Short() {
		step = 5
	}
	for _, row := range []struct {
		name string
		der  []byte
		put  func(c *vm.Collateral, der []byte)
	}{
		{"PCK", pck, func(_ *vm.Collateral, der []byte) { q.Signature.PCKChain = bundle(der, ca, root) }},
		{"CA of the PCK", ca, func(_ *vm.Collateral, der []byte) { q.Signature.PCKChain = bundle(pck, der, root) }},
		{"CA of the PCK and its CRL", ca, func(c *vm.Collateral, der []byte) {
			q.Signature.PCKChain, c.PCKCRLChain = bundle(pck, der, root), bundle(der, root)
		}},
		{"CA of the PCK's CRL", ca, func(c *vm.Collateral, der []byte) { c.PCKCRLChain = bundle(der, root) }},
		{"signer of the TCB info", signer, func(c *vm.Collateral, der []byte) { c.TCBInfoChain = bundle(der, root) }},
		{"signer of the QE identity", signer, func(c *vm.Collateral, der []byte) { c.QEIdentityChain = bundle(der, root) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			sound := q.Signature.PCKChain
			defer func() { q.Signature.PCKChain = sound }()
			for i := -step; i < len(row.der); i += step {
				der := row.der
				if i >= 0 {
					der = flipped(row.der, i)
				}
				c := genuine
				row.put(&c, der)
				ev.Quote, ev.Collateral = tdx.Encode(q), &c
				_, err := Verify(ev, b.options)
				if (err == nil) != (i < 0) || (err != nil && vm.CodeOf(err) == vm.CodeInternal) {
					t.Fatalf("byte %d of %d flipped: %v", i, len(row.der), err)
				}
			}
		})
	}
}

// TestFlipAnyByteOfIntel does the same to genuine collateral, whose lists have
// entries and whose documents have fields that a development PKI has not.
func TestFlipAnyByteOfIntel(t *testing.T) {
	ev, o := genuine(t)
	if !haveVectors() {
		t.Skip("needs genuine evidence")
	}
	sound := *ev.Collateral
	step := 1
	if testing.Short() {
		step = 11
	}
	for name, document := range documents(&sound) {
		for i := 0; i < len(*document); i += step {
			c := sound
			*documents(&c)[name] = flipped(*document, i)
			ev.Collateral = &c
			_, err := Verify(ev, o)
			switch {
			case err == nil && !sameEnvelope(name, *document, *documents(&c)[name]) && !sameCertificates(t, *document, *documents(&c)[name]):
				t.Errorf("%s, byte %d flipped: accepted", name, i)
			case err != nil && vm.CodeOf(err) == vm.CodeInternal:
				t.Errorf("%s, byte %d: %v", name, i, err)
			}
		}
	}
}

// sameCertificates reports whether two bundles agree in all but the last
// certificate, the root, and there in name and key.
func sameCertificates(t *testing.T, a, b []byte) bool {
	t.Helper()
	if !bytes.HasPrefix(a, []byte("-----BEGIN")) {
		return false
	}
	was, is := certificates(t, a), certificates(t, b)
	last := len(was) - 1
	return len(is) == len(was) &&
		slices.EqualFunc(was[:last], is[:last], (*x509.Certificate).Equal) &&
		bytes.Equal(was[last].RawSubject, is[last].RawSubject) && bytes.Equal(was[last].RawSubjectPublicKeyInfo, is[last].RawSubjectPublicKeyInfo)
}
