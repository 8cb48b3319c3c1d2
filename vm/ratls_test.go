package vm

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// TestCertificateEvidenceOnTheWire holds the encoding against the bytes that
// Gramine's and rats-tls's certificates have in these places.
func TestCertificateEvidenceOnTheWire(t *testing.T) {
	spki := Hash(bytes.Repeat([]byte{0xaa}, 32))
	claims := CertificateClaims(spki, nil)
	if got, want := hex.EncodeToString(claims), "a1"+"6b"+hex.EncodeToString([]byte("pubkey-hash"))+"5824"+"82015820"+strings.Repeat("aa", 32); got != want {
		t.Errorf("claims are %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(CertificateEvidence(TDX, make([]byte, 4734), claims))[:16], "d9ea608259127e00"; got != want {
		t.Errorf("evidence begins with %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(CertificateEvidence(SNP, []byte{1}, claims))[:16], "da001a7504824101"; got != want {
		t.Errorf("evidence begins with %s, want %s", got, want)
	}
}

func TestCertificateEvidenceRoundTrip(t *testing.T) {
	for _, tee := range []TEE{TDX, SNP} {
		for _, events := range [][]byte{nil, []byte(`[]`), bytes.Repeat([]byte("x"), 70000-5000)} {
			quote, spki := bytes.Repeat([]byte{7}, 1184), HashOf([]byte("key"))
			gotTEE, gotQuote, claims, err := ParseCertificateEvidence(CertificateEvidence(tee, quote, CertificateClaims(spki, events)))
			if err != nil || gotTEE != tee || !bytes.Equal(gotQuote, quote) {
				t.Fatalf("%s: %v, quote of %d bytes", gotTEE, err, len(gotQuote))
			}
			gotKey, gotEvents, err := ParseCertificateClaims(claims)
			if err != nil || gotKey != spki || !bytes.Equal(gotEvents, events) {
				t.Errorf("%s: key %s, events of %d bytes, %v", tee, gotKey, len(gotEvents), err)
			}
		}
	}
}

func TestCertificateEvidenceIsStrict(t *testing.T) {
	claims := CertificateClaims(HashOf([]byte("key")), nil)
	good := CertificateEvidence(TDX, []byte("quote"), claims)
	for _, c := range []struct{ name, in, wantErr string }{
		{"empty", "", "ends early"},
		{"trailing byte", string(good) + "\x00", "1 bytes too many"},
		{"truncated", string(good[:len(good)-1]), "of which"},
		{"another tag", "\xd9\xea\x61" + string(good[3:]), "CBOR tag is 60001"},
		{"three entries", string(good[:3]) + "\x83" + string(good[4:]), "3 entries"},
		{"long form", string(good[:4]) + "\x58\x05" + string(good[5:]), "shortest form"},
		{"indefinite", string(good[:4]) + "\x5f", "too long"},
		{"not a string", string(good[:4]) + "\x05", "type 0, want 2"},
	} {
		if _, _, _, err := ParseCertificateEvidence([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wantErr)
		}
	}
	twice := append([]byte{0xa2}, claims[1:]...)
	twice = append(twice, claims[1:]...)
	for _, c := range []struct{ name, in, wantErr string }{
		{"no key", "\xa0", "pubkey-hash is missing"},
		{"other hash", strings.Replace(string(claims), "\x82\x01", "\x82\x07", 1), "no SHA-256"},
		{"twice", string(twice), "twice"},
		{"too many", "\xb8\x20", "there are 32"},
		{"not a map", "\x80", "type 4"},
	} {
		if _, _, err := ParseCertificateClaims([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wantErr)
		}
	}
}

func FuzzParseCertificateEvidence(f *testing.F) {
	f.Add(CertificateEvidence(TDX, []byte("quote"), CertificateClaims(Hash{1}, []byte("[]"))))
	f.Add(CertificateEvidence(SNP, nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		tee, quote, claims, err := ParseCertificateEvidence(b)
		if err != nil {
			return
		}
		if again := CertificateEvidence(tee, quote, claims); !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, which encodes as %x", b, again)
		}
		_, _, _ = ParseCertificateClaims(claims)
	})
}

func TestExporterReportDataIsItsOwn(t *testing.T) {
	spki, nonce, exporter := HashOf([]byte("key")), make([]byte, 32), make([]byte, ExporterSize)
	seen := map[[64]byte]string{
		AttestationReportData(spki, nonce):                              "without a connection",
		AttestationReportData(spki, append(nonce[:32:32], exporter...)): "with a longer nonce",
	}
	other := bytes.Repeat([]byte{1}, ExporterSize)
	for name, rd := range map[string][64]byte{
		"exporter": ExporterReportData(spki, nonce, exporter), "another connection": ExporterReportData(spki, nonce, other),
		"another key": ExporterReportData(Hash{}, nonce, exporter), "another nonce": ExporterReportData(spki, other, exporter),
	} {
		if was, ok := seen[rd]; ok {
			t.Errorf("%s has the report data of %s", name, was)
		}
		seen[rd] = name
	}
}
