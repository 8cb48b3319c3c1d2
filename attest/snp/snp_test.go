package snp_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// TestTurinKey reads the certificate of a Turin chip, whose layout differs.
func TestTurinKey(t *testing.T) {
	der := vectors.Read(t, "virtee-sev/tests/certs_data/vcek_turin.der")
	check := pki.NewChecker(snp.Roots(), now)
	for _, chain := range [][]byte{nil, vectors.Read(t, "virtee-sev/tests/certs_data/cert_chain_turin")} {
		e, err := snp.Open(check, &vm.AMDCollateral{EndorsementKey: der, Chain: chain}, true)
		if err != nil {
			t.Fatal(err)
		}
		if e.Key.Line != snp.Turin || len(e.Key.ChipID) != 8 || e.Key.TCB != (snp.TCB{Microcode: 9}) || e.Root.Subject.CommonName != "ARK-Turin" {
			t.Errorf("key is %+v below %s", e.Key, e.Root.Subject)
		}
	}
}

// TestBuiltInIssuers checks the signatures that verification then relies upon.
func TestBuiltInIssuers(t *testing.T) {
	roots := snp.Roots()
	for i, issuer := range snp.Intermediates() {
		root := roots[i%len(roots)]
		if err := root.CheckSignature(x509.SHA384WithRSAPSS, issuer.RawTBSCertificate, issuer.Signature); err != nil || issuer.SignatureAlgorithm != x509.SHA384WithRSAPSS {
			t.Errorf("%s below %s: %v", issuer.Subject.CommonName, root.Subject.CommonName, err)
		}
		kind := map[bool]string{true: "SEV-", false: "SEV-VLEK-"}[i < len(roots)]
		line := strings.TrimPrefix(root.Subject.CommonName, "ARK-")
		if issuer.Subject.CommonName != kind+line || !bytes.Equal(issuer.RawIssuer, root.RawSubject) || !issuer.IsCA || issuer.KeyUsage&x509.KeyUsageCertSign == 0 {
			t.Errorf("issuer %d is %s below %s", i, issuer.Subject.CommonName, root.Subject.CommonName)
		}
		if err := root.CheckSignatureFrom(root); err != nil {
			t.Errorf("%s: %v", root.Subject.CommonName, err)
		}
	}
}

// TestExtensionTwice is a certificate that crypto/x509 would not even parse.
func TestExtensionTwice(t *testing.T) {
	cert, err := x509.ParseCertificate(machine(t, snp.Milan).Collateral.EndorsementKey)
	if err != nil {
		t.Fatal(err)
	}
	cert.Extensions = append(cert.Extensions, cert.Extensions...)
	if _, err := snp.ParseKey(cert); vm.CodeOf(err) != vm.CodeMalformed || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
	cert.Extensions = []pkix.Extension{}
	if _, err := snp.ParseKey(cert); vm.CodeOf(err) != vm.CodeMalformed {
		t.Errorf("got %v", err)
	}
}

// TestSecretVMReport reads a report of an existing SecretVM machine.
func TestSecretVMReport(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(vectors.Read(t, "secretvm-verify/test-data/amd_cpu_docker_check_quote.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	r, err := snp.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	product, err := r.Product(snp.Genoa)
	if err != nil || product != snp.ProductGenoa {
		t.Errorf("product is %s, %v", product, err)
	}
	tcb, err := product.Line().TCB("REPORTED_TCB", r.ReportedTCB)
	if err != nil || tcb != (snp.TCB{Bootloader: 9, SNP: 23, Microcode: 72}) {
		t.Errorf("TCB is %s, %v", tcb, err)
	}
	if r.Version != 3 || r.VMPL != 1 || string(r.FamilyID[:]) != "prod-small-sev##" || r.Current.String() != "1.55.39" || r.IDKey.IsZero() {
		t.Errorf("report is %+v", r)
	}
	if got := r.Policy.String() + ", " + r.Platform.String(); got != "SMT, SMT_EN TSME_EN ECC_EN ALIAS_CHECK_COMPLETE" {
		t.Errorf("bits are %q", got)
	}
	if !strings.HasPrefix(r.Measurement.String(), "4f2f8168a6e1") {
		t.Errorf("measurement is %s", r.Measurement)
	}
}

func TestTCBLayouts(t *testing.T) {
	for _, row := range []struct {
		line   snp.Line
		packed uint64
		want   snp.TCB
	}{
		{snp.Milan, 0xdb18000000000004, snp.TCB{Bootloader: 4, SNP: 0x18, Microcode: 0xdb}},
		{snp.Genoa, 0x541700000000000a, snp.TCB{Bootloader: 10, SNP: 0x17, Microcode: 0x54}},
		{snp.Turin, 0x1100000022334455, snp.TCB{FMC: 0x55, Bootloader: 0x44, TEE: 0x33, SNP: 0x22, Microcode: 0x11}},
	} {
		got, err := row.line.TCB("REPORTED_TCB", row.packed)
		if err != nil || got != row.want || row.line.Pack(got) != row.packed {
			t.Errorf("%s: %#x is %+v, %v, want %+v", row.line, row.packed, got, err, row.want)
		}
		if _, err := row.line.TCB("REPORTED_TCB", row.packed|1<<36); vm.CodeOf(err) != vm.CodeMalformed {
			t.Errorf("%s: reserved bytes: %v", row.line, err)
		}
	}
}

// TestLevels holds the built-in levels to their order: a newer one is never
// below an older one, and every product has one.
func TestLevels(t *testing.T) {
	for _, product := range []snp.Product{snp.ProductMilan, snp.ProductMilanX, snp.ProductGenoa, snp.ProductGenoaX, snp.ProductBergamo, snp.ProductTurin} {
		levels := product.Levels()
		if len(levels) == 0 {
			t.Errorf("%s has no level", product)
		}
		for i, l := range levels {
			if l.Date.IsZero() || len(l.Advisories) == 0 || l.TCB.SNP == 0 || product != snp.ProductTurin && l.TCB.Microcode == 0 {
				t.Errorf("%s: level %+v is incomplete", product, l)
			}
			if i > 0 && (!levels[i-1].TCB.AtLeast(l.TCB) || !levels[i-1].Date.After(l.Date)) {
				t.Errorf("%s: level %d is not newer than the next", product, i-1)
			}
		}
	}
	short := snp.TCB{SNP: 1}.Short(snp.TCB{SNP: 2, Microcode: 3})
	if !slices.Equal(short, []string{"SNP firmware has 1, wants 2", "microcode has 0, wants 3"}) {
		t.Errorf("short of %q", short)
	}
}

func TestBitsHaveNames(t *testing.T) {
	if got := (snp.PolicyDebug | snp.PolicySMT).String(); got != "SMT DEBUG" {
		t.Errorf("policy reads %q", got)
	}
	if got := (snp.PlatformTSME | snp.PlatformAliasCheck).String(); got != "TSME_EN ALIAS_CHECK_COMPLETE" {
		t.Errorf("platform reads %q", got)
	}
}
