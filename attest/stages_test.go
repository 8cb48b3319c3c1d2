package attest

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// TestVectorStages looks at genuine quotes whose certificates and collateral
// have no day in common: quote and chain at one time, collateral at another,
// through the same steps that Verify takes at one.
func TestVectorStages(t *testing.T) {
	sapphire := dcapCollateral(t, dcap+"tdx_quote_collateral.json")
	november := with(sapphire, vm.Collateral{TCBInfo: read(t, trustee+"tcbInfo.json"), QEIdentity: read(t, trustee+"enclaveIdentity.json")})
	for _, row := range []struct {
		name       string
		quote      []byte
		quoteAt    time.Time
		collateral *vm.Collateral
		at         time.Time
		want       string // status or code
		hint       string
		registers  string // "mrtd,rtmr0,rtmr1,rtmr2" stand in the registry behind this
	}{
		{
			"secretvm-verify cpu_quote", readHex(t, verify+"cpu_quote.txt"), day(2026, 2, 20), sapphire, day(2025, 7, 1),
			"UpToDate", "", "4xlarge_256GB_gpu,prod,v0.0.21,",
		},
		{
			"secretvm-verify tdx_cpu_docker_check", readHex(t, verify+"tdx_cpu_docker_check_quote.txt"), day(2026, 2, 20), sapphire, day(2025, 7, 1),
			"UpToDate", "", "small,prod,v0.0.25,",
		},
		{
			"trustee tdx_quote_6", read(t, trustee+"tdx_quote_6.dat"), day(2025, 11, 1), november, day(2025, 11, 1),
			"tcb-not-accepted", "PCE has SVN 11, want 13", "",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			q, err := tdx.Decode(row.quote)
			if err != nil {
				t.Fatal(err)
			}
			p, err := readPCK(pki.NewChecker([]*x509.Certificate{IntelRoot()}, row.quoteAt), q.Signature.PCKChain)
			if err != nil {
				t.Fatal(err)
			}
			if err := (*memory)(nil).checkSignatures(&q.Signature, q.Signed(), p); err != nil {
				t.Fatal(err)
			}
			if err := checkBody(&q, &Policy{}); err != nil {
				t.Fatal(err)
			}
			check := pki.NewChecker([]*x509.Certificate{IntelRoot()}, row.at)
			said, err := signedParts(check, row.collateral, p)
			if err != nil {
				t.Fatal(err)
			}
			assessment, err := assess(&p.sgx, shown{aboutTDX, &q.Signature.QEReport, &q.Body}, &said, &Policy{})
			if err == nil {
				_, err = assessment.judge(&said, &Policy{}, row.at)
			}
			found := string(assessment.status)
			if err != nil {
				found = string(vm.CodeOf(err))
				if hint := err.(*vm.Refusal).Hint; !strings.Contains(hint, row.hint) {
					t.Errorf("hint %q, want %q in it", hint, row.hint)
				}
			}
			t.Log(found, err)
			if found != row.want {
				t.Errorf("verdict %s (%v), want %s", found, err, row.want)
			}
			if m := q.Body.Measurement(); row.registers != "" {
				line := fmt.Sprintf("%s%s,%s,%s,%s,", row.registers, m.MRTD, m.RTMR[0], m.RTMR[1], m.RTMR[2])
				if !bytes.Contains(read(t, "secretvm-verify/artifacts_registry/tdx.csv"), []byte(line)) {
					t.Errorf("registry has no line %s", line)
				}
			}
		})
	}
}

// signedParts is readCollateral without the CRLs.
func signedParts(check *pki.Checker, c *vm.Collateral, p platform) (s said, err error) {
	inner, _, err := openSigned(check, "TCB info", collateral.KeyTCBInfo, c.TCBInfo, c.TCBInfoChain)
	if err != nil {
		return s, err
	}
	if s.tcb, err = collateral.ParseTCBInfo(inner, collateral.IDTDX); err != nil {
		return s, err
	}
	if inner, _, err = openSigned(check, "QE identity", collateral.KeyQEIdentity, c.QEIdentity, c.QEIdentityChain); err != nil {
		return s, err
	}
	if s.qe, err = collateral.ParseQEIdentity(inner, collateral.IDTDQE); err != nil {
		return s, err
	}
	return s, s.current(check)
}

// TestIntelSampleUnderItsRoot takes the sample of Intel's library, whose
// fields are random, as far as random fields go: every signature holds below
// its own root, but its QE identity describes another enclave.
func TestIntelSampleUnderItsRoot(t *testing.T) {
	root, err := pki.ParsePEM("root", read(t, intel+"trustedRootCaCert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(intelSample(t))
	if err != nil {
		t.Fatal(err)
	}
	check := pki.NewChecker(root, day(2025, 7, 1))
	p, err := readPCK(check, q.Signature.PCKChain)
	if err != nil {
		t.Fatal(err)
	}
	if err := (*memory)(nil).checkSignatures(&q.Signature, q.Signed(), p); err != nil {
		t.Fatal(err)
	}
	chain, err := pki.ParsePEM("chain", read(t, intel+"tcbSignChain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(chain, func(a, b *x509.Certificate) int { return bytes.Compare(b.RawSubject, a.RawSubject) })
	signers := slices.Concat(encodePEM(chain[0]), encodePEM(chain[1]))
	said, err := signedParts(check, &vm.Collateral{
		TCBInfo: read(t, intel+"tcbInfo.json"), TCBInfoChain: signers, QEIdentity: read(t, intel+"qeIdentity.json"), QEIdentityChain: signers,
	}, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkQE(&q.Signature.QEReport, &said.qe); vm.CodeOf(err) != vm.CodeQEIdentity {
		t.Errorf("checkQE = %v, want %s", err, vm.CodeQEIdentity)
	}
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// TestGenuineSignatures follows the signatures of genuine quotes that come
// without collateral, from Intel's root to the quoted bytes, and then breaks
// each with one bit.
func TestGenuineSignatures(t *testing.T) {
	for name, at := range map[string]time.Time{
		trustee + "az-tdx-vtpm/td-quote.bin":    day(2026, 2, 20),
		trustee + "tdx_quote_5.dat":             day(2026, 2, 20),
		google + "ccel/cos-113-tdx-quote.dat":   day(2025, 7, 1),
		google + "tdx_prod_quote_SPR_E4.dat":    day(2023, 7, 1),
		"dstack/dstack/ra-tls/assets/tdx_quote": day(2026, 2, 20),
		azure + "td_quote_v4.dat":               day(2026, 2, 20),
		azure + "td_quote_v5.dat":               day(2026, 2, 20),
		dcap + "tdx_quote_outdated":             day(2026, 2, 20),
		trustee + "tdx_quote_4.dat":             day(2023, 7, 1),
	} {
		t.Run(name, func(t *testing.T) {
			q, err := tdx.Decode(bytes.TrimSuffix(read(t, name), extra))
			if err != nil {
				t.Fatal(err)
			}
			p, err := readPCK(pki.NewChecker([]*x509.Certificate{IntelRoot()}, at), q.Signature.PCKChain)
			if err != nil {
				t.Fatal(err)
			}
			if err := (*memory)(nil).checkSignatures(&q.Signature, q.Signed(), p); err != nil {
				t.Fatal(err)
			}
			q.Body.ReportData[63] ^= 0x80
			if err := (*memory)(nil).checkSignatures(&q.Signature, q.Signed(), p); vm.CodeOf(err) != vm.CodeSignature {
				t.Errorf("one bit changed: %v", err)
			}
		})
	}
}
