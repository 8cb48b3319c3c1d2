package attest

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// TestK7_Collateral forges and ages collateral in every way that a host could
// serve it; each is refused with a code and a reason of its own.
func TestK7_Collateral(t *testing.T) {
	type change = func(t *testing.T, b bed, ev *vm.Evidence)
	plan := func(change func(*emulator.Plan)) change {
		return func(t *testing.T, b bed, ev *vm.Evidence) { b.issue(t, ev, change) }
	}
	old := emulator.DefaultPlan(now.AddDate(0, 0, -31))
	future := emulator.DefaultPlan(now.AddDate(0, 0, 1))
	for _, row := range []struct {
		name   string
		change change
		want   vm.Code
		text   string // part of the message
		hint   string // part of the hint
	}{
		{"sound", plan(func(*emulator.Plan) {}), "", "", ""},
		{"platform out of date", plan(func(p *emulator.Plan) {
			better := p.TCBInfo.TCBLevels[0]
			better.TCB.SGX = append([]collateral.Component{{SVN: 9, Category: "BIOS", Type: "Early Microcode Update"}}, better.TCB.SGX[1:]...)
			p.TCBInfo.TCBLevels[0].TCBStatus, p.TCBInfo.TCBLevels[0].AdvisoryIDs = collateral.OutOfDate, []string{"INTEL-SA-00001"}
			p.TCBInfo.TCBLevels = append([]collateral.TCBLevel{better}, p.TCBInfo.TCBLevels...)
		}), vm.CodeTCB, "OutOfDate, want UpToDate", "SGX component 1 (Early Microcode Update, updated by BIOS) has SVN 3, want 9"},
		{"platform out of date, advisory named", plan(func(p *emulator.Plan) {
			p.TCBInfo.TCBLevels[0].TCBStatus, p.TCBInfo.TCBLevels[0].AdvisoryIDs = collateral.OutOfDate, []string{"INTEL-SA-00001"}
		}), vm.CodeTCB, "INTEL-SA-00001", ""},
		{"platform needs hardening", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCBStatus = collateral.SWHardeningNeeded }), vm.CodeTCB, "SWHardeningNeeded", ""},
		{"platform revoked", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCBStatus = collateral.RevokedTCB }), vm.CodeTCB, "Revoked", ""},
		{"platform in a state unheard of", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCBStatus = "Fine" }), vm.CodeMalformed, "Fine", ""},
		{"PCESVN short", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.PCESVN++ }), vm.CodeTCB, "not listed", "PCE has SVN 13, want 14"},
		{"TDX component short", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.TDX[2].SVN++ }), vm.CodeTCB, "not listed", "TDX component 3 has SVN 4, want 5"},
		{"no levels", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels = []collateral.TCBLevel{} }), vm.CodeTCB, "not listed", "no level"},
		{"module out of date", plan(func(p *emulator.Plan) {
			levels := &p.TCBInfo.TDXModuleIdentities[0].TCBLevels
			worse := (*levels)[0]
			worse.TCBStatus = collateral.OutOfDate
			(*levels)[0].TCB.ISVSVN = 14
			*levels = append(*levels, worse)
		}), vm.CodeTCB, "OutOfDate", "TDX module TDX_01 has SVN 13, UpToDate wants 14"},
		{"module below every level", plan(func(p *emulator.Plan) { p.TCBInfo.TDXModuleIdentities[0].TCBLevels[0].TCB.ISVSVN = 14 }), vm.CodeTCB, "not listed", "wants 14"},
		{"module version unknown", plan(func(p *emulator.Plan) { p.TCBInfo.TDXModuleIdentities[0].ID = "TDX_03" }), vm.CodeModule, "TDX_01", ""},
		{"module of another signer", plan(func(p *emulator.Plan) { p.TCBInfo.TDXModuleIdentities[0].MRSigner = bytes.Repeat([]byte{1}, 48) }), vm.CodeModule, "MRSIGNERSEAM", ""},
		{"module with other attributes", plan(func(p *emulator.Plan) {
			p.TCBInfo.TDXModuleIdentities[0].Attributes = []byte{1, 0, 0, 0, 0, 0, 0, 0}
		}), vm.CodeModule, "SEAMATTRIBUTES", ""},
		{"enclave out of date", plan(func(p *emulator.Plan) { p.QEIdentity.TCBLevels[0].TCBStatus = collateral.OutOfDate }), vm.CodeTCB, "OutOfDate", ""},
		{"enclave below every level", plan(func(p *emulator.Plan) { p.QEIdentity.TCBLevels[0].TCB.ISVSVN = 5 }), vm.CodeTCB, "quoting enclave is below", "has SVN 4, UpToDate wants 5"},
		{"PCK revoked", func(t *testing.T, b bed, ev *vm.Evidence) {
			b.issue(t, ev, func(p *emulator.Plan) { p.Revoked = []*x509.Certificate{b.pki.PCK.Cert} })
		}, vm.CodeRevoked, "PCK Certificate", "TCB recovery"},
		{"platform CA revoked", func(t *testing.T, b bed, ev *vm.Evidence) {
			b.issue(t, ev, func(p *emulator.Plan) { p.Revoked = []*x509.Certificate{b.pki.PlatformCA.Cert} })
		}, vm.CodeRevoked, "Platform CA", ""},
		{"TCB signer revoked", func(t *testing.T, b bed, ev *vm.Evidence) {
			b.issue(t, ev, func(p *emulator.Plan) { p.Revoked = []*x509.Certificate{b.pki.TCBSigner.Cert} })
		}, vm.CodeRevoked, "TCB Signing", ""},
		{"TCB info expired", plan(func(p *emulator.Plan) {
			p.TCBInfo.IssueDate, p.TCBInfo.NextUpdate = old.TCBInfo.IssueDate, old.TCBInfo.NextUpdate
		}), vm.CodeExpired, "TCB info has expired", "fetch"},
		{"TCB info of tomorrow", plan(func(p *emulator.Plan) {
			p.TCBInfo.IssueDate, p.TCBInfo.NextUpdate = future.TCBInfo.IssueDate, future.TCBInfo.NextUpdate
		}), vm.CodeExpired, "TCB info is not valid yet", "clock"},
		{"QE identity expired", plan(func(p *emulator.Plan) { p.QEIdentity.NextUpdate = now.Add(-time.Second) }), vm.CodeExpired, "QE identity has expired", ""},
		{"QE identity of tomorrow", plan(func(p *emulator.Plan) { p.QEIdentity.IssueDate = future.From }), vm.CodeExpired, "QE identity is not valid yet", ""},
		{"CRLs expired", plan(func(p *emulator.Plan) { p.From, p.To = old.From, old.To }), vm.CodeExpired, "CRL of the root CA has expired", ""},
		{"CRLs of tomorrow", plan(func(p *emulator.Plan) { p.From = future.From }), vm.CodeExpired, "not valid yet", ""},
		{"FMSPC of another platform", plan(func(p *emulator.Plan) { p.TCBInfo.FMSPC = []byte{1, 2, 3, 4, 5, 6} }), vm.CodeCollateral, "FMSPC is 010203040506", "fetch the TCB info for FMSPC de7e10000000"},
		{"PCEID of another platform", plan(func(p *emulator.Plan) { p.TCBInfo.PCEID = []byte{0, 1} }), vm.CodeCollateral, "PCEID", ""},
		{"TCB info for SGX", plan(func(p *emulator.Plan) { p.TCBInfo.ID = "SGX" }), vm.CodeCollateral, `"SGX", want "TDX"`, ""},
		{"TCB info version 2", plan(func(p *emulator.Plan) { p.TCBInfo.Version = 2 }), vm.CodeCollateral, "version", ""},
		{"QE identity for SGX", plan(func(p *emulator.Plan) { p.QEIdentity.ID = "QE" }), vm.CodeCollateral, `"QE", want "TD_QE"`, ""},
		{"QE identity version 3", plan(func(p *emulator.Plan) { p.QEIdentity.Version = 3 }), vm.CodeCollateral, "version", ""},
		{"evaluations mixed", plan(func(p *emulator.Plan) { p.QEIdentity.TCBEvaluationDataNumber = 2 }), vm.CodeCollateral, "tcbEvaluationDataNumber", ""},
		{"15 components", plan(func(p *emulator.Plan) { p.TCBInfo.TCBLevels[0].TCB.SGX = p.TCBInfo.TCBLevels[0].TCB.SGX[1:] }), vm.CodeMalformed, "15 SGX", ""},
		{"QE identity of another signer", plan(func(p *emulator.Plan) { p.QEIdentity.MRSigner = bytes.Repeat([]byte{1}, 32) }), vm.CodeQEIdentity, "MRSIGNER", ""},
		{"QE identity of another product", plan(func(p *emulator.Plan) { p.QEIdentity.ISVProdID = 1 }), vm.CodeQEIdentity, "ISVPRODID", ""},
		{"QE identity with other attributes", plan(func(p *emulator.Plan) { p.QEIdentity.Attributes[0] ^= 1 }), vm.CodeQEIdentity, "ATTRIBUTES", ""},
		{"QE identity with other features", plan(func(p *emulator.Plan) { p.QEIdentity.MiscSelect = []byte{1, 0, 0, 0} }), vm.CodeQEIdentity, "MISCSELECT", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBed(t)
			ev := b.evidence(t)
			row.change(t, b, &ev)
			_, err := bothWays(t, ev, b.options)
			if row.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			r := refused(t, err, row.want)
			if !strings.Contains(err.Error(), row.text) || !strings.Contains(r.Hint, row.hint) {
				t.Errorf("refusal %q, hint %q, want %q and %q", err, r.Hint, row.text, row.hint)
			}
		})
	}
}

// TestK7_ForgedSignatures swaps and edits signed material without its key.
func TestK7_ForgedSignatures(t *testing.T) {
	b, stranger := newBed(t), newBed(t)
	foreign := stranger.evidence(t)
	edit := func(field *[]byte, from, to string) {
		edited := bytes.Replace(*field, []byte(from), []byte(to), 1)
		if bytes.Equal(edited, *field) {
			t.Fatalf("%q does not occur", from)
		}
		*field = edited
	}
	for _, row := range []struct {
		name   string
		change func(*vm.Collateral)
		want   vm.Code
	}{
		{"TCB info edited", func(c *vm.Collateral) { edit(&c.TCBInfo, `"pcesvn":13`, `"pcesvn":12`) }, vm.CodeSignature},
		{"TCB info with a space", func(c *vm.Collateral) { edit(&c.TCBInfo, `"pcesvn":13`, `"pcesvn": 13`) }, vm.CodeSignature},
		{"QE identity edited", func(c *vm.Collateral) { edit(&c.QEIdentity, `"isvprodid":2`, `"isvprodid":3`) }, vm.CodeSignature},
		{"TCB info of another PKI", func(c *vm.Collateral) { c.TCBInfo = foreign.Collateral.TCBInfo }, vm.CodeSignature},
		{"TCB info and chain of another PKI", func(c *vm.Collateral) {
			c.TCBInfo, c.TCBInfoChain = foreign.Collateral.TCBInfo, foreign.Collateral.TCBInfoChain
		}, vm.CodeChain},
		{"QE identity and chain of another PKI", func(c *vm.Collateral) {
			c.QEIdentity, c.QEIdentityChain = foreign.Collateral.QEIdentity, foreign.Collateral.QEIdentityChain
		}, vm.CodeChain},
		{"QE identity in place of TCB info", func(c *vm.Collateral) { c.TCBInfo = c.QEIdentity }, vm.CodeMalformed},
		{"TCB signer replaced by platform CA", func(c *vm.Collateral) { c.TCBInfoChain = c.PCKCRLChain }, vm.CodeChain},
		{"CRL of the root by another root", func(c *vm.Collateral) { c.RootCACRL = foreign.Collateral.RootCACRL }, vm.CodeSignature},
		{"CRL of the PCK CA by another CA", func(c *vm.Collateral) { c.PCKCRL = foreign.Collateral.PCKCRL }, vm.CodeSignature},
		{"CRLs swapped", func(c *vm.Collateral) { c.PCKCRL, c.RootCACRL = c.RootCACRL, c.PCKCRL }, vm.CodeCollateral},
		{"CRL unsigned", func(c *vm.Collateral) { c.PCKCRL[len(c.PCKCRL)-1] ^= 1 }, vm.CodeSignature},
		{"chain of the PCK CRL of another PKI", func(c *vm.Collateral) { c.PCKCRLChain = foreign.Collateral.PCKCRLChain }, vm.CodeCollateral},
		{"CRL of the root missing", func(c *vm.Collateral) { c.RootCACRL = nil }, vm.CodeCollateral},
		{"CRL of the PCK CA missing", func(c *vm.Collateral) { c.PCKCRL = nil }, vm.CodeCollateral},
		{"chain of the PCK CRL missing", func(c *vm.Collateral) { c.PCKCRLChain = nil }, vm.CodeCollateral},
		{"TCB info missing", func(c *vm.Collateral) { c.TCBInfo = nil }, vm.CodeCollateral},
		{"chain of the TCB info missing", func(c *vm.Collateral) { c.TCBInfoChain = nil }, vm.CodeCollateral},
		{"QE identity missing", func(c *vm.Collateral) { c.QEIdentity = nil }, vm.CodeCollateral},
		{"chain of the QE identity missing", func(c *vm.Collateral) { c.QEIdentityChain = nil }, vm.CodeCollateral},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := b.evidence(t)
			b.issue(t, &ev, func(*emulator.Plan) {})
			row.change(ev.Collateral)
			_, err := bothWays(t, ev, b.options)
			refused(t, err, row.want)
		})
	}
}

// TestK7_AcceptedByPolicy: what is refused by default may be accepted by name,
// but for what never may.
func TestK7_AcceptedByPolicy(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	b.issue(t, &ev, func(p *emulator.Plan) {
		p.TCBInfo.TCBLevels[0].TCBStatus = collateral.SWHardeningNeeded
		p.TCBInfo.TCBLevels[0].AdvisoryIDs = []string{"INTEL-SA-00002", "INTEL-SA-00001", "INTEL-SA-00002"}
	})
	b.options.Policy.Accept = []string{"UpToDate", "SWHardeningNeeded"}
	verdict, err := bothWays(t, ev, b.options)
	if err != nil {
		t.Fatal(err)
	}
	if verdict.TCBStatus != "SWHardeningNeeded" || strings.Join(verdict.Advisories, " ") != "INTEL-SA-00001 INTEL-SA-00002" {
		t.Errorf("verdict says %s %v", verdict.TCBStatus, verdict.Advisories)
	}
	for _, never := range []string{"Revoked", "", "uptodate"} {
		b.options.Policy.Accept = []string{never}
		_, err := bothWays(t, ev, b.options)
		refused(t, err, vm.CodeInvalid)
	}
	b.options.Policy = Policy{Attributes: tdx.AttributeDebug}
	_, err = bothWays(t, ev, b.options)
	refused(t, err, vm.CodeInvalid)
}

// TestB5_Debug: a machine that its host can look into is refused under every
// policy, whatever else is in order.
func TestB5_Debug(t *testing.T) {
	b := newBed(t)
	for bit := range 8 {
		b.machine.Attributes = tdx.AttributeSEPTVEDisable | 1<<bit
		for _, policy := range []Policy{{}, {SEPTVE: true, Attributes: tdx.AttributePKS, Accept: []string{"OutOfDate"}}} {
			b.options.Policy = policy
			_, err := Verify(b.evidence(t), b.options)
			refused(t, err, vm.CodeDebug)
		}
	}
}

// TestS1_SoftEvidence: the development root proves nothing unless somebody
// names it, and is never called Intel's.
func TestS1_SoftEvidence(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	for _, label := range []vm.TEE{vm.Soft, vm.TDX, ""} {
		ev.TEE = label
		for _, roots := range [][]*x509.Certificate{nil, {}, {IntelRoot()}, {newBed(t).pki.Root.Cert}} {
			_, err := Verify(ev, Options{Time: now, Roots: roots})
			if r := refused(t, err, vm.CodeChain); !strings.Contains(r.Found, emulator.Organisation) {
				t.Errorf("refusal %v does not say whose root it is", err)
			}
		}
		verdict, err := Verify(ev, Options{Time: now, Roots: []*x509.Certificate{IntelRoot(), b.pki.Root.Cert}})
		if err != nil {
			t.Fatal(err)
		}
		if verdict.TEE != vm.Soft || verdict.Anchor.Intel || !strings.Contains(verdict.Anchor.Subject, emulator.Organisation) {
			t.Errorf("labelled %q, the verdict is %s below %+v, want soft", label, verdict.TEE, verdict.Anchor)
		}
	}
}

// TestS1_MixedRoots: where both roots are trusted, collateral below one says
// nothing about a platform below the other.
func TestS1_MixedRoots(t *testing.T) {
	b, other := newBed(t), newBed(t)
	ev := b.evidence(t)
	b.options.Roots = append(b.options.Roots, other.pki.Root.Cert)
	foreign := other.evidence(t).Collateral
	mixed := *ev.Collateral
	mixed.TCBInfo, mixed.TCBInfoChain = foreign.TCBInfo, foreign.TCBInfoChain
	ev.Collateral = &mixed
	_, err := bothWays(t, ev, b.options)
	refused(t, err, vm.CodeChain)
}
