package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vectors = "../../../shared/vectors"

// secretvm runs one command line in this process.
func secretvm(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// TestVectors runs verify, show and explain over what real machines of several
// systems said, and over what other projects refuse.
func TestVectors(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	const (
		dcap    = "dcap-qvl/sample/tdx_quote_collateral.json"
		svm     = "secretvm-verify/test-data/"
		trustee = "trustee/deps/verifier/test_data/"
		goTDX   = "go-tdx-guest/testing/testdata/"
		june    = "2025-07-01"
	)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	registers := filepath.Join(t.TempDir(), "registers.yaml")
	text := "version: 1\nsnp: { without_crl: true, vmpl: 1, minimum_tcb: [{ product: Milan, snp: 8, microcode: 115 }] }\nimage: { launch: [51068107cdc7ee3d89c7821b05bca6147eb77b2005ae759050fc049b65a1b0beabc65a9d857acecf23225f5ec76849f5] }\n" +
		"workload: { host_data: cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c }\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	text = "version: 1\nmachine: { tee: [tdx] }\nimage:\n  registers:\n" +
		"    - mrtd: 91eb2b44d141d4ece09f0c75c2c53d247a3c68edd7fafe8a3520c942a604a407de03ae6dc5f87f27428b2538873118b7\n" +
		"      rtmr0: 44c0197b39157fdd7a4dcc44767f9d6b0bb3977c7a8e347b8492f827fe9d9e5c48aca29b220b80b6a540cf994b9bc9c0\n" +
		"      rtmr1: 0084452c01668329d4bc06acdf58a7205c26743304509973949e5619bf81a6a7aea8c323c173019b3093d54e579e9378\n" +
		"      rtmr2: d833feef2cd945148aa38ead2c53e9b7f138190aaaebfc551dccd829fc207aa3ba80b70870d7330733642e01d48c3132\n" +
		"      rtmr3: " + strings.Repeat("0", 96) + "\n"
	if err := os.WriteFile(registers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	committed := filepath.Join(t.TempDir(), "committed.yaml")
	text = "version: 1\ntcb: { accept: [UpToDate, ConfigurationNeeded] }\nsnp: { without_crl: true, minimum_tcb: [{ product: Milan }] }\n"
	if err := os.WriteFile(committed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lenient := filepath.Join(t.TempDir(), "lenient.yaml")
	if err := os.WriteFile(lenient, []byte("version: 1\ntcb: { advisories: [INTEL-SA-00289, INTEL-SA-00615] }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, collateral, at string
		more                 []string
		code                 int
		says                 string
	}{
		{"dcap-qvl/sample/tdx_quote", dcap, june, nil, exitUnverified, "genuine Intel CPU"},
		{"dcap-qvl/sample/tdx_quote", dcap, june, []string{"--policy", registers}, exitOK, "runs exactly what your policy names on genuine Intel TDX"},
		{"dcap-qvl/tests/near/contracts/gas-test/tests/quote/quote_hex.txt", dcap, june, []string{"--policy", registers}, exitRefused, ""},
		{"dcap-qvl/sample/tdx_quote", dcap, "2025-08-01", nil, exitRefused, "[expired]"},
		{"dcap-qvl/sample/tdx_quote", "", june, nil, exitRefused, "[collateral]"},
		{"dcap-qvl/sample/tdx-quote.hex", "", june, nil, exitRefused, "[collateral]"},
		{"dcap-qvl/sample/tdx_quote_outdated", "dcap-qvl/sample/tdx_quote_outdated_collateral.json", "2026-03-01", nil, exitRefused, "SEAMLDR ACM, updated by OS/VMM) has SVN 3, want 5"},
		{"dcap-qvl/sample/sgx_quote", "dcap-qvl/sample/sgx_quote_collateral.json", june, nil, exitRefused, "INTEL-SA-00289, INTEL-SA-00615"},
		{"dcap-qvl/sample/sgx_quote", "dcap-qvl/sample/sgx_quote_collateral.json", june, []string{"--policy", lenient}, exitUnverified, "MRENCLAVE"},
		{"secret-vm-kms/tests/quote.txt", "secret-vm-kms/tests/collateral.txt", "2025-05-20", nil, exitUnverified, "TCB UpToDate"},
		{goTDX + "quote_v5_sample.dat", "", "2026-02-03", nil, exitRefused, "[collateral]"},
		{goTDX + "tdx_prod_quote_SPR_E4.dat", "", june, nil, exitRefused, "[malformed]"},
		{trustee + "tdx_quote_4.dat", "", june, nil, exitRefused, "[debug]"},
		{trustee + "tdx_quote_6.dat", "", "2025-11-01", nil, exitRefused, "[collateral]"},
		{"cc-api-evidence/common/golang/evidence_api/test_data/quote.bin", "", june, nil, exitRefused, "[untrusted-chain]"},
		{svm + "tdx_cpu_docker_check_quote.txt", "", "2026-03-01", []string{"--registry", svm + "../artifacts_registry/tdx.csv"}, exitRefused, "[collateral]"},
		{svm + "amd_cpu_quote.txt", "", "2026-03-01", nil, exitRefused, "[collateral]"},
		{"azure-sidecar/pkg/attest/test_data/snp_report.bin", "azure-sidecar/pkg/attest/test_data/uvm_host_amd_certificate.pem", "2023-06-01", nil, exitRefused, "revocation list"},
		{
			"azure-sidecar/pkg/attest/test_data/snp_report.bin", "azure-sidecar/pkg/attest/test_data/uvm_host_amd_certificate.pem", "2023-06-01",
			[]string{"--policy", policy},
			exitOK, "on genuine AMD SEV-SNP",
		},
		{
			trustee + "snp/test-report.bin", trustee + "snp/test-vcek.der", "2024-06-01", []string{"--policy", policy}, exitRefused, "",
		},
		{"go-sev-guest/verify/testdata/attestation.bin", "go-sev-guest/verify/testdata/vcek.testcer", "2023-01-01", nil, exitRefused, ""},
		{"dstack/dstack/verifier/fixtures/sev-snp-attestation.json", "", "2026-08-01", []string{"--policy", committed}, exitUnverified, "genuine AMD CPU"},
		{"dstack/dstack/verifier/fixtures/sev-snp-attestation.json", "", "2026-08-01", []string{"--policy", policy}, exitRefused, "REPORTED_TCB"},
		{"dstack/dstack/verifier/fixtures/quote-report.json", "", june, nil, exitRefused, ""},
		{"dstack/dstack/verifier/fixtures/tdx-lite-getquote.json", "", "2026-06-01", nil, exitRefused, "[collateral]"},
	} {
		t.Run(c.file+" at "+c.at, func(t *testing.T) {
			args := []string{filepath.Join(vectors, c.file), "--offline", "--at", c.at}
			if c.collateral != "" {
				args = append(args, "--collateral", filepath.Join(vectors, c.collateral))
			}
			for _, m := range c.more {
				if strings.Contains(m, "registry/") {
					m = filepath.Join(vectors, m)
				}
				args = append(args, m)
			}
			code, out := secretvm(t, append([]string{"verify"}, args...)...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("verify ends with %d, want %d and %q:\n%s", code, c.code, c.says, out)
			}
			if again, reasons := secretvm(t, append([]string{"explain"}, args...)...); again != code || code == exitRefused && !strings.Contains(reasons, "means ") {
				t.Errorf("explain ends with %d, verify with %d:\n%s", again, code, reasons)
			}
			if code, shown := secretvm(t, "show", args[0]); code != exitOK || !strings.Contains(shown, "NOT VERIFIED") || strings.Contains(shown, "✓") {
				t.Errorf("show ends with %d:\n%s", code, shown)
			}
		})
	}
}
