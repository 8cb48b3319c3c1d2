package attest

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	oracle "github.com/google/go-tdx-guest/verify"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// pcs serves collateral the way Intel's service does, to the oracle. It takes
// FMSPC in lower case only: it compares case-sensitively.
type pcs struct{ c vm.Collateral }

func (p pcs) Get(address string) (map[string][]string, []byte, error) {
	for _, answer := range []struct {
		path, header string
		chain, body  []byte
	}{
		{"/tcb", "Tcb-Info-Issuer-Chain", p.c.TCBInfoChain, p.c.TCBInfo},
		{"/qe/identity", "Sgx-Enclave-Identity-Issuer-Chain", p.c.QEIdentityChain, p.c.QEIdentity},
		{"/pckcrl", "Sgx-Pck-Crl-Issuer-Chain", p.c.PCKCRLChain, p.c.PCKCRL},
		{"development.crl", "", nil, p.c.RootCACRL},
	} {
		if strings.Contains(address, answer.path) {
			return map[string][]string{answer.header: {url.QueryEscape(string(answer.chain))}}, answer.body, nil
		}
	}
	return nil, nil, fmt.Errorf("no %s here", address)
}

// lowerFMSPC signs the collateral's TCB info again with its FMSPC in lower
// case, which this package takes for the same.
func lowerFMSPC(t *testing.T, b bed, c *vm.Collateral) {
	t.Helper()
	inner, _, err := collateral.Open(collateral.KeyTCBInfo, c.TCBInfo)
	if err != nil {
		t.Fatal(err)
	}
	inner = bytes.Replace(inner, []byte(`"DE7E10000000"`), []byte(`"de7e10000000"`), 1)
	c.TCBInfo = collateral.Seal(collateral.KeyTCBInfo, inner, signDocument(t, b, inner))
}

// TestOracle compares verdicts with google/go-tdx-guest, an independent
// verifier, on evidence that it can judge: version 4, UpToDate or refused, and
// none of the checks that it leaves out.
func TestOracle(t *testing.T) {
	for _, row := range []struct {
		name   string
		plan   func(*emulator.Plan)
		forge  func(*tdx.Quote)
		tamper func(*tdx.Quote)
		revoke func(*emulator.PKI) *x509.Certificate
		ok     bool
	}{
		{name: "sound", ok: true},
		{name: "platform out of date", plan: func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCBStatus = collateral.OutOfDate }},
		{name: "SGX component short", plan: func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.SGX[3].SVN = 200 }},
		{name: "TDX component short", plan: func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.TDX[2].SVN = 200 }},
		{name: "PCE short", plan: func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.PCESVN = 200 }},
		{name: "TCB info expired", plan: func(p *emulator.Plan) { p.TCBInfo.NextUpdate = now.AddDate(0, 0, -1) }},
		{name: "QE identity expired", plan: func(p *emulator.Plan) { p.QEIdentity.NextUpdate = now.AddDate(0, 0, -1) }},
		{name: "another FMSPC", plan: func(p *emulator.Plan) { p.TCBInfo.FMSPC = []byte{1, 2, 3, 4, 5, 6} }},
		{name: "another QE signer", plan: func(p *emulator.Plan) { p.QEIdentity.MRSigner = make([]byte, 32) }},
		{name: "another QE product", plan: func(p *emulator.Plan) { p.QEIdentity.ISVProdID = 9 }},
		{name: "QE out of date", plan: func(p *emulator.Plan) { p.QEIdentity.TCBLevels[0].TCBStatus = collateral.OutOfDate }},
		{name: "CRLs expired", plan: func(p *emulator.Plan) { p.From, p.To = now.AddDate(0, 0, -40), now.AddDate(0, 0, -1) }},
		{name: "PCK revoked", revoke: func(p *emulator.PKI) *x509.Certificate { return p.PCK.Cert }},
		{name: "CA revoked", revoke: func(p *emulator.PKI) *x509.Certificate { return p.PlatformCA.Cert }},
		{name: "module of another version", forge: func(q *tdx.Quote) { q.Body.TEETCBSVN[1] = 9 }},
		{name: "body changed", tamper: func(q *tdx.Quote) { q.Body.RTMR[3][5]++ }},
		{name: "QE report changed", tamper: func(q *tdx.Quote) { q.Signature.QEReport.MRSigner[0]++ }},
		{name: "attestation key changed", tamper: func(q *tdx.Quote) { q.Signature.AttestationKey[9]++ }},
		{name: "authentication data changed", tamper: func(q *tdx.Quote) { q.Signature.AuthData[9]++ }},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			ev := b.evidence(t)
			b.issue(t, &ev, func(p *emulator.Plan) {
				if row.plan != nil {
					row.plan(p)
				}
				if row.revoke != nil {
					p.Revoked = append(p.Revoked, row.revoke(b.pki))
				}
			})
			lowerFMSPC(t, b, ev.Collateral)
			if row.forge != nil {
				b.resign(t, &ev, row.forge)
			}
			if row.tamper != nil {
				unsigned(t, &ev, row.tamper)
			}
			_, ours := Verify(ev, b.options)
			roots := x509.NewCertPool()
			roots.AddCert(b.pki.Root.Cert)
			theirs := oracle.RawTdxQuote(ev.Quote, &oracle.Options{GetCollateral: true, CheckRevocations: true, Getter: pcs{*ev.Collateral}, Now: now, TrustedRoots: roots})
			if (ours == nil) != row.ok || (theirs == nil) != row.ok {
				t.Errorf("accepted here: %v (%v), by the oracle: %v (%v), want %v", ours == nil, ours, theirs == nil, theirs, row.ok)
			}
		})
	}
}

// TestOracleFields compares what both decoders read.
func TestOracleFields(t *testing.T) {
	ev := newBed(t).evidence(t)
	parsed, err := abi.QuoteToProto(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	theirs := parsed.(*pb.QuoteV4).GetTdQuoteBody()
	ours, err := tdx.Decode(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2][]byte{
		"MRTD": {ours.Body.MRTD[:], theirs.GetMrTd()}, "MRCONFIGID": {ours.Body.MRConfigID[:], theirs.GetMrConfigId()},
		"RTMR1": {ours.Body.RTMR[1][:], theirs.GetRtmrs()[1]}, "RTMR2": {ours.Body.RTMR[2][:], theirs.GetRtmrs()[2]},
		"REPORTDATA": {ours.Body.ReportData[:], theirs.GetReportData()}, "MRSEAM": {ours.Body.MRSEAM[:], theirs.GetMrSeam()},
		"TEE_TCB_SVN": {ours.Body.TEETCBSVN[:], theirs.GetTeeTcbSvn()},
	} {
		if !bytes.Equal(pair[0], pair[1]) {
			t.Errorf("%s is %x here, %x there", name, pair[0], pair[1])
		}
	}
}
