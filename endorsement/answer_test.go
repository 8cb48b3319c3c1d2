package endorsement

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"testing"

	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/endorsement/transport"
	"github.com/secretvm/secretvm/test/vectors"
)

// parts are the parts of real collateral, as text.
func parts(t testing.TB) map[string]string {
	t.Helper()
	var f map[string]string
	if err := json.Unmarshal(vectors.Read(t, "dcap-qvl/sample/tdx_quote_collateral.json"), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// Services differ in how they encode a chain; all give the same one.
func TestIssuerChain(t *testing.T) {
	chain := parts(t)["tcb_info_issuer_chain"]
	for name, value := range map[string]string{
		"percent": url.PathEscape(chain),
		"form":    url.QueryEscape(chain),
		"NUL":     url.PathEscape(chain) + "%00",
	} {
		got, err := issuerChain(http.Header{"Tcb-Info-Issuer-Chain": {value}}, headersTCBInfo)
		if err != nil || !bytes.Equal(bytes.TrimRight(got, "\x00"), []byte(chain)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := issuerChain(http.Header{"Sgx-Tcb-Info-Issuer-Chain": {url.PathEscape(chain)}}, headersTCBInfo); err != nil || string(got) != chain {
		t.Errorf("the older header: %v", err)
	}
	for name, value := range map[string]string{
		"none": "", "half an escape": "%4", "no PEM": "abc", "other PEM": "-----BEGIN%20KEY-----", "four": url.PathEscape(chain + chain),
	} {
		if _, err := issuerChain(http.Header{"Tcb-Info-Issuer-Chain": {value}}, headersTCBInfo); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A CRL comes in DER, in hexadecimal digits, quoted or not, or in PEM.
func TestDecodeCRL(t *testing.T) {
	digits := parts(t)["root_ca_crl"]
	der, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	for name, b := range map[string][]byte{
		"DER": der, "hex": []byte(digits), "HEX": bytes.ToUpper([]byte(digits)), "quoted": []byte(`"` + digits + `"` + "\n"), "NUL": []byte(digits + "\x00"), "PEM": text,
	} {
		if got, err := decodeCRL(b); err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "trailing": append(bytes.Clone(der), 0), "odd": []byte(digits[1:]), "hex of something else": []byte("00ff"),
		"two": append(bytes.Clone(text), text...), "JSON": []byte(`{"error":"x"}`),
	} {
		if _, err := decodeCRL(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzIssuerChain(f *testing.F) {
	chain := parts(f)["tcb_info_issuer_chain"]
	f.Add(url.PathEscape(chain))
	f.Add(url.QueryEscape(chain))
	f.Add("%00")
	f.Fuzz(func(t *testing.T, value string) {
		chain, err := decodeChain(value)
		if err != nil {
			return
		}
		if certs, err := pki.ParsePEM("", chain); err != nil || len(certs) == 0 {
			t.Errorf("accepted a chain that cannot be read: %v", err)
		}
	})
}

// FuzzPCCS throws bytes at every reader of what a PCS, PCCS or KDS answers:
// what is accepted can be kept and described.
func FuzzPCCS(f *testing.F) {
	p := parts(f)
	f.Add([]byte(p["root_ca_crl"]))
	f.Add([]byte(`{"tcbInfo":` + p["tcb_info"] + `,"signature":"` + p["tcb_info_signature"] + `"}`))
	f.Add([]byte(`{"enclaveIdentity":` + p["qe_identity"] + `,"signature":"` + p["qe_identity_signature"] + `"}`))
	f.Add([]byte(p["tcb_info_issuer_chain"]))
	header := http.Header{}
	for _, names := range [][]string{headersTCBInfo, headersQEIdentity, headersPCKCRL} {
		header.Set(names[0], url.PathEscape(p["tcb_info_issuer_chain"]))
	}
	questions := []struct {
		question
		read reader
	}{
		{question{kind: KindTCBInfo, tee: "tdx", fmspc: "b0c06f000000"}, readTCBInfo},
		{question{kind: KindQEIdentity, tee: "tdx"}, readQEIdentity},
		{question{kind: KindPCKCRL, ca: "platform"}, readPCKCRL},
		{question{kind: KindRootCRL}, readRootCRL},
		{question{kind: KindVCEK}, readCertificate},
		{question{kind: KindChain}, readWhole},
		{question{kind: KindOCSP}, readWhole},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, q := range questions {
			body, _, err := q.read(&transport.Answer{Header: header, Body: b})
			if err != nil {
				continue
			}
			facts, err := q.describe(body)
			if err == nil && q.kind == KindTCBInfo && (facts.Next.IsZero() || facts.Subject != "b0c06f000000") {
				t.Errorf("described %q as %+v", b, facts)
			}
			if err == nil && q.kind == KindRootCRL {
				if _, err := x509.ParseRevocationList(body); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func FuzzRIMService(f *testing.F) {
	f.Add([]byte(`{"id":"X","rim":"PGE+","sha256":"` + "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" + `"}`))
	f.Add([]byte(`{"id":"X","rim":"PGE+"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, _, err := readRIM(&transport.Answer{URL: "https://rim.example/v1/rim/X", Body: b})
		if err == nil && (len(body) == 0 || len(body) > store.MaxObject) {
			t.Errorf("accepted %q", b)
		}
	})
}
