package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

const vectors = "../../../../shared/vectors/"

// genuineLists are Intel's CRLs in the vectors: of both PCK CAs and the root.
func genuineLists(t testing.TB) (lists [][]byte) {
	t.Helper()
	if _, err := os.Stat(vectors); err != nil {
		return nil
	}
	for _, name := range []string{"tdx_quote_collateral.json", "tdx_quote_outdated_collateral.json", "sgx_quote_collateral.json"} {
		b, err := os.ReadFile(vectors + "dcap-qvl/sample/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var f map[string]string
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"pck_crl", "root_ca_crl"} {
			der, err := hex.DecodeString(f[key])
			if err != nil {
				t.Fatal(err)
			}
			lists = append(lists, der)
		}
	}
	return lists
}

// agree holds parseList to crypto/x509 where both accept a list.
func agree(t *testing.T, b []byte) (accepted bool) {
	t.Helper()
	ours, wrong := parseList(b)
	theirs, err := x509.ParseRevocationList(b)
	if wrong != "" || err != nil {
		return false
	}
	if !bytes.Equal(ours.issuer, theirs.RawIssuer) || !bytes.Equal(ours.tbs, theirs.RawTBSRevocationList) || !bytes.Equal(ours.signature, theirs.Signature) ||
		!ours.thisUpdate.Equal(theirs.ThisUpdate) || !ours.nextTime.Equal(theirs.NextUpdate) {
		t.Errorf("read %v to %v by %x, crypto/x509 %v to %v by %x", ours.thisUpdate, ours.nextTime, ours.issuer, theirs.ThisUpdate, theirs.NextUpdate, theirs.RawIssuer)
	}
	for _, entry := range theirs.RevokedCertificateEntries {
		if err := Revoked(&ours.List, &x509.Certificate{RawIssuer: ours.issuer, SerialNumber: entry.SerialNumber}); vm.CodeOf(err) != vm.CodeRevoked {
			t.Errorf("serial %x is on the list: %v", entry.SerialNumber, err)
		}
	}
	for entries := der(ours.entries); len(entries) > 0; {
		content, _ := entries.take(tagSequence)
		one := der(content)
		serial, _ := one.take(tagInteger)
		n := new(big.Int).SetBytes(serial)
		if serial[0] < 0x80 && !slices.ContainsFunc(theirs.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(n) == 0 }) {
			t.Errorf("serial %x is not on the list of crypto/x509", serial)
		}
	}
	return true
}

func TestListsOfIntel(t *testing.T) {
	lists := genuineLists(t)
	if lists == nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	for i, list := range lists {
		if !agree(t, list) {
			_, wrong := parseList(list)
			t.Errorf("list %d is refused: %s", i, wrong)
		}
	}
}

// TestListErrors breaks a sound list in every way that DER and RFC 5280 know,
// and signs what comes out.
func TestListErrors(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: []byte{1},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(change func(*x509.RevocationList)) []byte {
		list := &x509.RevocationList{
			Number: big.NewInt(7), ThisUpdate: at.Add(-time.Hour), NextUpdate: at.Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(200), RevocationTime: at, ReasonCode: 1}, {SerialNumber: big.NewInt(5), RevocationTime: at}},
		}
		change(list)
		out, err := x509.CreateRevocationList(rand.Reader, list, issuer, key)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sound := issue(func(*x509.RevocationList) {})
	edit := func(from, to string) []byte {
		f, _ := hex.DecodeString(from)
		to2, _ := hex.DecodeString(to)
		out := bytes.Replace(sound, f, to2, 1)
		if bytes.Equal(out, sound) {
			t.Fatalf("%s does not occur in %x", from, sound)
		}
		return out
	}
	for _, row := range []struct {
		name string
		der  []byte
		want vm.Code
	}{
		{"sound", sound, ""},
		{"no entries", issue(func(l *x509.RevocationList) { l.RevokedCertificateEntries = nil }), ""},
		{"beyond 2050", issue(func(l *x509.RevocationList) { l.NextUpdate = time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC) }), ""},
		{"empty", nil, vm.CodeCollateral},
		{"cut", sound[:len(sound)-1], vm.CodeMalformed},
		{"trailing", append(bytes.Clone(sound), 0), vm.CodeMalformed},
		{"version 1", edit("020101300a", "020100300a"), vm.CodeMalformed},
		{"inner algorithm", edit("300a06082a8648ce3d040302"+hex.EncodeToString(issuer.RawSubject), "300a06082a8648ce3d040303"+hex.EncodeToString(issuer.RawSubject)), vm.CodeMalformed},
		{"outer algorithm", edit("300a06082a8648ce3d04030203", "300a06082a8648ce3d04030303"), vm.CodeMalformed},
		{"serial not minimal", edit("020200c8", "02020048"), vm.CodeMalformed},
		{"serial is no number", edit("020200c8", "040200c8"), vm.CodeMalformed},
		{"time of an entry", edit("170d3236303630313030303030305a300c", "170d3236303630313030303030305b300c"), vm.CodeMalformed},
		{"nextUpdate missing", edit("170d3236303630313031303030305a", ""), vm.CodeMalformed},
		{"nextUpdate in summer", edit("170d3236303630313031303030305a", "170d3236303633313031303030305a"), vm.CodeMalformed},
		{"critical extension", issue(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
		}), vm.CodeMalformed},
		{"critical extension of an entry", issue(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[1].ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}
		}), vm.CodeMalformed},
		{"expired", issue(func(l *x509.RevocationList) { l.NextUpdate = at.Add(-time.Second) }), vm.CodeExpired},
		{"of tomorrow", issue(func(l *x509.RevocationList) { l.ThisUpdate = at.Add(time.Second) }), vm.CodeExpired},
		{"signature", edit("020105", "020106"), vm.CodeSignature},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := NewChecker([]*x509.Certificate{issuer}, at).CRL("CRL", row.der, issuer)
			if vm.CodeOf(err) != row.want && (row.want != "" || err != nil) {
				t.Errorf("CRL = %v, want %q", err, row.want)
			}
			if err != nil || row.name == "no entries" {
				return
			}
			for serial, want := range map[int64]bool{200: true, 5: true, 6: false, 0xc8_00: false, 0: false} {
				err := Revoked(list.Clone(), &x509.Certificate{RawIssuer: issuer.RawSubject, SerialNumber: big.NewInt(serial)})
				if (vm.CodeOf(err) == vm.CodeRevoked) != want {
					t.Errorf("serial %d: %v", serial, err)
				}
			}
		})
	}
	// A list of another CA says nothing about this one's certificates.
	list, err := NewChecker([]*x509.Certificate{issuer}, at).CRL("CRL", sound, issuer)
	if err != nil {
		t.Fatal(err)
	}
	if err := Revoked(list, &x509.Certificate{RawIssuer: []byte{0x30, 0}, SerialNumber: big.NewInt(9)}); vm.CodeOf(err) != vm.CodeCollateral {
		t.Errorf("certificate of another CA: %v", err)
	}
}

// FuzzParseList: no panic, and no other reading than that of crypto/x509.
func FuzzParseList(f *testing.F) {
	for _, list := range genuineLists(f) {
		f.Add(list)
	}
	f.Add([]byte{0x30, 0x82, 1, 0x20})
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}
