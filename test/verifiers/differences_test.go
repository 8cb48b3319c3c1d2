package verifiers

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// Defects of the peers that explain a difference, each named once. What they
// accept and attest refuses is the reason why they are not used.
const (
	same = "" // all agree

	guestOnlyV4     = "go-tdx-guest reads version 4 only"
	guestFMSPC      = "go-tdx-guest compares FMSPC by letters, and refuses Intel's own upper case"
	guestIssueDate  = "go-tdx-guest does not look at issueDate and thisUpdate: collateral of tomorrow is accepted"
	guestEvaluation = "go-tdx-guest does not look at tcbEvaluationDataNumber"
	guestAttributes = "go-tdx-guest leaves TD attributes and XFAM to its caller"
	guestTrailing   = "go-tdx-guest accepts any bytes behind the quote"

	dcapCRL        = "dcap-qvl looks serial numbers up in CRLs, and checks neither signature nor date nor issuer, nor that there is a list at all"
	dcapModule     = "dcap-qvl does not look at TDX module identities"
	dcapEvaluation = "dcap-qvl does not look at tcbEvaluationDataNumber"
	dcapPCEID      = "dcap-qvl does not look at PCEID"
	dcapAttributes = "dcap-qvl allows protection keys, and does not look at XFAM and SEAM attributes"
	dcapTrailing   = "dcap-qvl accepts any bytes behind the quote"
	dcapReports    = "dcap-qvl reports a status and leaves the judgement to its caller"

	bothJSON       = "both peers take the last of two fields of one name"
	bothAttributes = guestAttributes + "; " + dcapAttributes
	bothTrailing   = guestTrailing + "; " + dcapTrailing
	bothEvaluation = guestEvaluation + "; " + dcapEvaluation
)

// answers are the verdicts of all three: a TCB status, "ok" or "refused".
type answers struct{ ours, guest, dcap string }

// row is one piece of evidence and what each verifier makes of it.
type row struct {
	name string
	make func(t *testing.T, b bed) evidence
	want answers
	why  string // of a difference
}

// TestDifferences holds attest, go-tdx-guest and, where it is there, dcap-qvl to
// their expected verdicts on forged evidence. Where they differ, the row names
// the defect; a difference that goes away fails as well, so that the list stays
// true.
func TestDifferences(t *testing.T) {
	node := maybeDCAPQVL(t)
	plan := func(change func(*emulator.Plan)) func(*testing.T, bed) evidence {
		return func(t *testing.T, b bed) evidence { return b.make(t, change, nil) }
	}
	forge := func(change func(*tdx.Quote)) func(*testing.T, bed) evidence {
		return func(t *testing.T, b bed) evidence { return b.make(t, nil, change) }
	}
	after := func(change func(*testing.T, bed, *evidence)) func(*testing.T, bed) evidence {
		return func(t *testing.T, b bed) evidence {
			e := b.make(t, nil, nil)
			change(t, b, &e)
			return e
		}
	}
	revoke := func(which func(*emulator.PKI) *x509.Certificate) func(*testing.T, bed) evidence {
		return func(t *testing.T, b bed) evidence {
			return b.make(t, func(p *emulator.Plan) { p.Revoked = append(p.Revoked, which(b.pki)) }, nil)
		}
	}
	all := func(verdict string) answers {
		guest := "ok"
		if verdict != "UpToDate" {
			guest = "refused"
		}
		return answers{verdict, guest, verdict}
	}
	status := func(s collateral.Status) func(*testing.T, bed) evidence {
		return plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCBStatus = s })
	}
	for _, r := range []row{
		{"sound", plan(nil), all("UpToDate"), same},
		{"FMSPC as Intel writes it", after(upperFMSPC), answers{"UpToDate", "refused", "UpToDate"}, guestFMSPC},
		{"version 5", forge(func(q *tdx.Quote) { q.Header.Version = 5 }), answers{"UpToDate", "refused", "UpToDate"}, guestOnlyV4},
		{"version 5, TDX 1.5", forge(func(q *tdx.Quote) { q.Header.Version, q.BodyType = 5, tdx.BodyTD15 }), answers{"UpToDate", "refused", "UpToDate"}, guestOnlyV4},
		{"service TD", forge(func(q *tdx.Quote) { q.Header.Version, q.BodyType, q.Body.MRServiceTD = 5, tdx.BodyTD15, vm.Register{1} }), all("refused"), same},

		{"platform out of date", status(collateral.OutOfDate), answers{"refused", "refused", "OutOfDate"}, dcapReports},
		{"platform needs hardening", status(collateral.SWHardeningNeeded), answers{"refused", "refused", "SWHardeningNeeded"}, dcapReports},
		{"platform revoked", status(collateral.RevokedTCB), all("refused"), same},
		{"SGX component short", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.SGX[3].SVN = 200 }), all("refused"), same},
		{"TDX component short", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.TDX[2].SVN = 200 }), all("refused"), same},
		{"PCE short", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.PCESVN = 200 }), all("refused"), same},
		{"module of an unlisted version", forge(func(q *tdx.Quote) { q.Body.TEETCBSVN[1] = 9 }), answers{"refused", "refused", "UpToDate"}, dcapModule},
		{"module out of date", plan(func(p *emulator.Plan) { p.TCBInfo.TDXModuleIdentities[0].TCBLevels[0].TCBStatus = collateral.OutOfDate }), answers{"refused", "refused", "UpToDate"}, dcapModule},
		{"module of a stranger", forge(func(q *tdx.Quote) { q.Body.MRSignerSEAM = vm.Register{1} }), answers{"refused", "refused", "UpToDate"}, dcapModule},
		{"enclave out of date", plan(func(p *emulator.Plan) { p.QEIdentity.TCBLevels[0].TCBStatus = collateral.OutOfDate }), answers{"refused", "refused", "OutOfDate"}, dcapReports},
		{"enclave of another product", plan(func(p *emulator.Plan) { p.QEIdentity.ISVProdID = 9 }), all("refused"), same},
		{"enclave below every level", plan(func(p *emulator.Plan) { p.QEIdentity.TCBLevels[0].TCB.ISVSVN = 5 }), all("refused"), same},
		{"enclave of another signer", plan(func(p *emulator.Plan) { p.QEIdentity.MRSigner = make([]byte, 32) }), all("refused"), same},

		{"TCB info expired", plan(func(p *emulator.Plan) { p.TCBInfo.NextUpdate = now.AddDate(0, 0, -1) }), all("refused"), same},
		{"QE identity expired", plan(func(p *emulator.Plan) { p.QEIdentity.NextUpdate = now.AddDate(0, 0, -1) }), all("refused"), same},
		{"TCB info of tomorrow", plan(func(p *emulator.Plan) { p.TCBInfo.IssueDate = now.AddDate(0, 0, 1) }), answers{"refused", "ok", "refused"}, guestIssueDate},
		{"QE identity of tomorrow", plan(func(p *emulator.Plan) { p.QEIdentity.IssueDate = now.AddDate(0, 0, 1) }), answers{"refused", "ok", "refused"}, guestIssueDate},
		{"evaluations mixed", plan(func(p *emulator.Plan) { p.QEIdentity.TCBEvaluationDataNumber = 2 }), answers{"refused", "ok", "UpToDate"}, bothEvaluation},
		{"another FMSPC", plan(func(p *emulator.Plan) { p.TCBInfo.FMSPC = []byte{1, 2, 3, 4, 5, 6} }), all("refused"), same},
		{"another PCEID", plan(func(p *emulator.Plan) { p.TCBInfo.PCEID = []byte{0, 1} }), answers{"refused", "refused", "UpToDate"}, dcapPCEID},
		{"TCB info for SGX", plan(func(p *emulator.Plan) { p.TCBInfo.ID = "SGX" }), all("refused"), same},
		{"a field twice", after(fieldTwice), answers{"refused", "ok", "UpToDate"}, bothJSON},

		{"PCK revoked", revoke(func(p *emulator.PKI) *x509.Certificate { return p.PCK.Cert }), all("refused"), same},
		{"platform CA revoked", revoke(func(p *emulator.PKI) *x509.Certificate { return p.PlatformCA.Cert }), all("refused"), same},
		{"TCB signer revoked", revoke(func(p *emulator.PKI) *x509.Certificate { return p.TCBSigner.Cert }), all("refused"), same},
		{"CRLs expired", plan(func(p *emulator.Plan) { p.From, p.To = now.AddDate(0, 0, -40), now.AddDate(0, 0, -1) }), answers{"refused", "refused", "UpToDate"}, dcapCRL},
		{"CRLs of tomorrow", plan(func(p *emulator.Plan) { p.From = now.AddDate(0, 0, 1) }), answers{"refused", "ok", "UpToDate"}, guestIssueDate + "; " + dcapCRL},
		{"CRL unsigned, the revocation taken out", after(forgedCRL), answers{"refused", "refused", "UpToDate"}, dcapCRL},
		{"no CRL", after(func(_ *testing.T, _ bed, e *evidence) { e.collateral.PCKCRL = []byte{0} }), answers{"refused", "refused", "UpToDate"}, dcapCRL},

		{"under debug", forge(func(q *tdx.Quote) { q.Body.TDAttributes |= tdx.AttributeDebug }), answers{"refused", "ok", "refused"}, guestAttributes},
		{"SEPT_VE_DISABLE off", forge(func(q *tdx.Quote) { q.Body.TDAttributes = 0 }), answers{"refused", "ok", "refused"}, guestAttributes},
		{"protection keys", forge(func(q *tdx.Quote) { q.Body.TDAttributes |= tdx.AttributePKS }), answers{"refused", "ok", "UpToDate"}, bothAttributes},
		{"XFAM with a reserved bit", forge(func(q *tdx.Quote) { q.Body.XFAM |= 1 << 62 }), answers{"refused", "ok", "UpToDate"}, bothAttributes},

		{"body changed", after(changed(func(q *tdx.Quote) { q.Body.RTMR[3][5]++ })), all("refused"), same},
		{"QE report changed", after(changed(func(q *tdx.Quote) { q.Signature.QEReport.MRSigner[0]++ })), all("refused"), same},
		{"attestation key changed", after(changed(func(q *tdx.Quote) { q.Signature.AttestationKey[9]++ })), all("refused"), same},
		{"authentication data changed", after(changed(func(q *tdx.Quote) { q.Signature.AuthData[9]++ })), all("refused"), same},
		{"zero padding", after(func(_ *testing.T, _ bed, e *evidence) { e.quote = append(e.quote, 0, 0) }), all("UpToDate"), same},
		{"bytes behind the quote", after(func(_ *testing.T, _ bed, e *evidence) { e.quote = append(e.quote, "more"...) }), answers{"refused", "ok", "UpToDate"}, bothTrailing},
		{"another PKI's QE identity", after(func(t *testing.T, _ bed, e *evidence) {
			other := newBed(t).make(t, nil, nil)
			e.collateral.QEIdentity, e.collateral.QEIdentityChain = other.collateral.QEIdentity, other.collateral.QEIdentityChain
		}), all("refused"), same},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, node, r.make(t, newBed(t))) })
	}
}

func (r row) check(t *testing.T, node *dcapQVL, e evidence) {
	t.Helper()
	ev := vm.Evidence{Quote: e.quote, Collateral: &e.collateral}
	if len(e.quote) > 0 && e.quote[0] == tdx.Version3 {
		ev.TEE = vm.SGX
	}
	o := attest.Options{Time: e.at}
	if e.root != nil {
		o.Roots = []*x509.Certificate{e.root}
	}
	found := answers{ours: "refused", guest: "refused", dcap: r.want.dcap}
	verdict, ours := attest.Verify(ev, o)
	if ours == nil {
		found.ours = verdict.TCBStatus
	}
	theirs := goTDXGuest(e)
	if theirs == nil {
		found.guest = "ok"
	}
	said := ""
	if node != nil {
		answer := node.verify(t, e, 0)
		found.dcap, said = answer.Status, answer.Error
		if said != "" {
			found.dcap = "refused"
		}
	}
	if found != r.want {
		t.Errorf("verdicts %+v, want %+v (%s)\nattest: %v\ngo-tdx-guest: %v\ndcap-qvl: %s", found, r.want, r.why, ours, theirs, said)
	}
	differ := (r.want.ours == "refused") != (r.want.guest == "refused") || r.want.ours != r.want.dcap
	if differ != (r.why != same) {
		t.Errorf("difference %v, explanation %q", differ, r.why)
	}
}

// maybeDCAPQVL starts dcap-qvl where it is there.
func maybeDCAPQVL(t *testing.T) *dcapQVL {
	t.Helper()
	if os.Getenv("SECRETVM_DCAP_QVL") == "" {
		t.Log("without @phala/dcap-qvl (make bench-verify has it)")
		return nil
	}
	node := startDCAPQVL(t)
	return &node
}

// changed changes the quote without signing it again.
func changed(change func(*tdx.Quote)) func(*testing.T, bed, *evidence) {
	return func(t *testing.T, _ bed, e *evidence) {
		q, err := tdx.Decode(e.quote)
		if err != nil {
			t.Fatal(err)
		}
		change(&q)
		e.quote = tdx.Encode(q)
	}
}

// edited changes the TCB info and signs it again.
func edited(t *testing.T, b bed, e *evidence, from, to string) {
	t.Helper()
	inner, _, err := collateral.Open(collateral.KeyTCBInfo, e.collateral.TCBInfo)
	if err != nil {
		t.Fatal(err)
	}
	inner = bytes.Replace(inner, []byte(from), []byte(to), 1)
	e.collateral.TCBInfo = collateral.Seal(collateral.KeyTCBInfo, inner, b.sign(t, inner))
}

func upperFMSPC(t *testing.T, b bed, e *evidence) { edited(t, b, e, "de7e10000000", "DE7E10000000") }

func fieldTwice(t *testing.T, b bed, e *evidence) {
	edited(t, b, e, `"id":"TDX"`, `"id":"SGX","id":"TDX"`)
}

// forgedCRL replaces a CRL that revokes the PCK by one that a stranger signed
// in the CA's name.
func forgedCRL(t *testing.T, b bed, e *evidence) {
	t.Helper()
	stranger := newBed(t)
	ca := *b.pki.PlatformCA.Cert
	ca.PublicKey = stranger.pki.PlatformCA.Cert.PublicKey
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour), SignatureAlgorithm: x509.ECDSAWithSHA256}
	var err error
	if e.collateral.PCKCRL, err = x509.CreateRevocationList(rand.Reader, list, &ca, stranger.pki.PlatformCA.Key.PrivateKey); err != nil {
		t.Fatal(err)
	}
}

// TestDifferencesOnVectors does the same on genuine evidence.
func TestDifferencesOnVectors(t *testing.T) {
	node := maybeDCAPQVL(t)
	const sample = "dcap-qvl/sample/"
	file := func(quote, collateral string, at time.Time) func(*testing.T, bed) evidence {
		return func(t *testing.T, _ bed) evidence {
			return evidence{quote: unhex(t, read(t, quote)), collateral: readDCAPCollateral(t, collateral), at: at}
		}
	}
	june, winter := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 20, 0, 0, 0, 0, time.UTC)
	near := "dcap-qvl/tests/near/contracts/gas-test/tests/quote/"
	for _, r := range []row{
		{"tdx_quote", file(sample+"tdx_quote", sample+"tdx_quote_collateral.json", june), answers{"UpToDate", "refused", "UpToDate"}, guestFMSPC},
		{"tdx_quote, a month late", file(sample+"tdx_quote", sample+"tdx_quote_collateral.json", june.AddDate(0, 1, 0)), answers{"refused", "refused", "refused"}, same},
		{"tdx-quote.hex", file(sample+"tdx-quote.hex", sample+"tdx_quote_collateral.json", june), answers{"refused", "refused", "refused"}, same},
		{"quote-from-tappd.hex", file(sample+"quote-from-tappd.hex", sample+"tdx_quote_collateral.json", june), answers{"refused", "refused", "refused"}, same},
		{"tdx_quote_outdated", file(sample+"tdx_quote_outdated", sample+"tdx_quote_outdated_collateral.json", winter), answers{"refused", "refused", "refused"}, same},
		{"sgx_quote", file(sample+"sgx_quote", sample+"sgx_quote_collateral.json", june), answers{"refused", "refused", "ConfigurationAndSWHardeningNeeded"}, dcapReports},
		{"near gas test", file(near+"quote_hex.txt", near+"quote_collateral.json", time.Date(2025, 9, 10, 0, 0, 0, 0, time.UTC)), answers{"UpToDate", "ok", "UpToDate"}, same}, // FMSPC without letters
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, node, r.make(t, bed{})) })
	}
}

// unhex reads a quote that may be in hexadecimal.
func unhex(t *testing.T, b []byte) []byte {
	t.Helper()
	text := strings.TrimSpace(strings.Trim(string(b), "\" \r\n"))
	out := make([]byte, len(text)/2)
	if n, err := hex.Decode(out, []byte(text)); err == nil {
		return out[:n]
	}
	return b
}
