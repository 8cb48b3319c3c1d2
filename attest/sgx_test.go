package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// genuineSGX is a quote below Intel's Processor CA, of a platform that needs
// configuration and hardening.
func genuineSGX(t testing.TB) (vm.Evidence, Options) {
	t.Helper()
	return vm.Evidence{TEE: vm.SGX, Quote: read(t, dcap+"sgx_quote"), Collateral: dcapCollateral(t, dcap+"sgx_quote_collateral.json")},
		Options{Time: day(2025, 7, 1), Policy: Policy{Accept: []string{"ConfigurationAndSWHardeningNeeded"}}}
}

func TestSGXVector(t *testing.T) {
	ev, o := genuineSGX(t)
	verdict, err := bothWays(t, ev, o)
	if err != nil {
		t.Fatal(err)
	}
	// The snapshot of the independent parser: dcap-qvl/tests/snapshots.
	facts := verdict.SGX
	if verdict.TEE != vm.SGX || !verdict.Anchor.Intel || verdict.TCBStatus != "ConfigurationAndSWHardeningNeeded" ||
		strings.Join(verdict.Advisories, " ") != "INTEL-SA-00289 INTEL-SA-00615" || verdict.FMSPC != "00A067110000" || facts == nil {
		t.Fatalf("verdict %+v", verdict)
	}
	snapshot := strings.Join(strings.Fields(string(read(t, "dcap-qvl/tests/snapshots/verify_quote__could_parse_sgx_quote.snap"))), "")
	for name, b := range map[string][]byte{"mr_enclave": facts.MREnclave[:], "mr_signer": facts.MRSigner[:], "report_data": verdict.ReportData} {
		want := strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ",")
		if !strings.Contains(snapshot, name+":["+want+",]") {
			t.Errorf("the snapshot has another %s than %s", name, want)
		}
	}
	for _, row := range []struct {
		name   string
		change func(*vm.Evidence, *Options)
		want   vm.Code
	}{
		{"by default", func(_ *vm.Evidence, o *Options) { o.Policy = Policy{} }, vm.CodeTCB},
		{"with its advisories accepted", func(_ *vm.Evidence, o *Options) {
			o.Policy = Policy{Advisories: []string{"INTEL-SA-00289", "INTEL-SA-00615"}}
		}, ""},
		{"with one of them accepted", func(_ *vm.Evidence, o *Options) { o.Policy = Policy{Advisories: []string{"INTEL-SA-00289"}} }, vm.CodeTCB},
		{"called TDX", func(ev *vm.Evidence, _ *Options) { ev.TEE = vm.TDX }, vm.CodeMalformed},
		{"TDX called SGX", func(ev *vm.Evidence, _ *Options) { ev.Quote = read(t, dcap+"tdx_quote") }, vm.CodeMalformed},
		{"with collateral for TDX, of the other CA", func(ev *vm.Evidence, _ *Options) { ev.Collateral = dcapCollateral(t, dcap+"tdx_quote_collateral.json") }, vm.CodeCollateral},
		{"with TCB info for TDX", func(ev *vm.Evidence, _ *Options) {
			ev.Collateral = with(ev.Collateral, vm.Collateral{TCBInfo: dcapCollateral(t, dcap+"tdx_quote_collateral.json").TCBInfo})
		}, vm.CodeCollateral},
		{"with QE identity for TDX", func(ev *vm.Evidence, _ *Options) {
			ev.Collateral = with(ev.Collateral, vm.Collateral{QEIdentity: dcapCollateral(t, dcap+"tdx_quote_collateral.json").QEIdentity})
		}, vm.CodeCollateral},
		{"with events", func(ev *vm.Evidence, _ *Options) { ev.Events = []vm.Event{vm.RuntimeEvent("x", nil)} }, vm.CodeEvents},
		{"a month late", func(_ *vm.Evidence, o *Options) { o.Time = o.Time.AddDate(0, 1, 0) }, vm.CodeExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev, o := genuineSGX(t)
			row.change(&ev, &o)
			_, err := bothWays(t, ev, o)
			if row.want != "" {
				refused(t, err, row.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// sgxEvidence makes a quote of an enclave on the bed's platform, and
// collateral for it.
func (b bed) sgxEvidence(t testing.TB, change func(*tdx.SGXQuote)) vm.Evidence {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var donor tdx.Quote // of the quoting enclave's part
	if err := b.pki.SignQuote(&donor, key); err != nil {
		t.Fatal(err)
	}
	q := tdx.SGXQuote{
		Header: tdx.Header{Version: tdx.Version3, KeyType: tdx.KeyTypeECDSAP256, VendorID: tdx.IntelVendorID},
		Report: tdx.EnclaveReport{Attributes: [16]byte{tdx.EnclaveInitialised | 4}, MREnclave: [32]byte{1}, MRSigner: [32]byte{2}, ISVProdID: 3, ISVSVN: 4, ReportData: [64]byte{5}},
	}
	q.Signature = donor.Signature
	if change != nil {
		change(&q)
	}
	digest := sha256.Sum256(q.Signed())
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	r.FillBytes(q.Signature.Quote[:32])
	s.FillBytes(q.Signature.Quote[32:])
	ev := vm.Evidence{TEE: vm.SGX, Quote: tdx.EncodeSGX(q)}
	b.issue(t, &ev, func(p *emulator.Plan) {
		p.TCBInfo.ID, p.TCBInfo.TDXModule, p.TCBInfo.TDXModuleIdentities = collateral.IDSGX, collateral.Module{}, nil
		p.TCBInfo.TCBLevels[0].TCB.TDX = nil
		p.QEIdentity.ID = collateral.IDQE
	})
	return ev
}

func TestSGXFields(t *testing.T) {
	for _, row := range []struct {
		name  string
		forge func(*tdx.SGXQuote)
		want  vm.Code
	}{
		{"sound", nil, ""},
		{"S1 under debug", func(q *tdx.SGXQuote) { q.Report.Attributes[0] |= tdx.EnclaveDebug }, vm.CodeDebug},
		{"not initialised", func(q *tdx.SGXQuote) { q.Report.Attributes[0] = 4 }, vm.CodeAttributes},
		{"enclave of another vendor", func(q *tdx.SGXQuote) { q.Header.VendorID[3]++ }, vm.CodeQEIdentity},
		{"version 4", func(q *tdx.SGXQuote) { q.Header.Version = 4 }, vm.CodeMalformed},
		{"P-384", func(q *tdx.SGXQuote) { q.Header.KeyType = 3 }, vm.CodeMalformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			verdict, err := bothWays(t, b.sgxEvidence(t, row.forge), b.options)
			if row.want != "" {
				refused(t, err, row.want)
				return
			}
			if err != nil || verdict.TEE != vm.Soft || verdict.SGX.MREnclave != (vm.Hash{1}) || verdict.SGX.ProductID != 3 || verdict.SGX.SVN != 4 {
				t.Errorf("verdict %+v, %v", verdict, err)
			}
		})
	}
}

// TestSGXFlipAnyByte: no quote but the genuine one is accepted.
func TestSGXFlipAnyByte(t *testing.T) {
	b := newBed(t)
	ev := b.sgxEvidence(t, nil)
	genuine := ev.Quote
	q, err := tdx.DecodeSGX(genuine)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tdx.EncodeSGX(q), genuine) {
		t.Fatal("the quote does not encode to itself")
	}
	chainAt := len(genuine) - len(q.Signature.PCKChain)
	for i := range chainAt {
		ev.Quote = slices.Clone(genuine)
		ev.Quote[i] ^= 1 << (i % 8)
		if _, err := Verify(ev, b.options); err == nil || vm.CodeOf(err) == vm.CodeInternal {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for n := range len(genuine) {
		ev.Quote = genuine[:n]
		_, err := Verify(ev, b.options)
		refused(t, err, vm.CodeMalformed)
	}
	ev.Quote = append(slices.Clone(genuine), make([]byte, 500)...)
	if _, err := Verify(ev, b.options); err != nil {
		t.Errorf("zero padding: %v", err)
	}
	ev.Quote[len(ev.Quote)-1] = 1
	_, err = Verify(ev, b.options)
	refused(t, err, vm.CodeMalformed)
	b.options.Time = now.Add(400 * 24 * time.Hour)
	ev.Quote = genuine
	_, err = bothWays(t, ev, b.options)
	refused(t, err, vm.CodeExpired)
}
