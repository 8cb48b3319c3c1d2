package exhibit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// material decodes files that are no evidence: certificates, lists, collateral,
// boot logs.
func material(b []byte) (Exhibit, bool) {
	text := bytes.TrimSpace(b)
	switch {
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return Exhibit{"certificates (PEM)", []Section{certificates("Certificates", b)}}, true
	case bytes.HasPrefix(b, []byte{0x30, 0x82}) || bytes.HasPrefix(b, []byte{0x30, 0x81}):
		return der(b)
	case bytes.HasPrefix(text, []byte(`{"tcbInfo"`)) || bytes.HasPrefix(text, []byte(`{"enclaveIdentity"`)):
		return Exhibit{"collateral of Intel (JSON)", []Section{tcbInfo(text), qeIdentity(text)}}, true
	case bytes.HasPrefix(text, []byte("{")):
		var fields map[string]json.RawMessage
		if json.Unmarshal(text, &fields) != nil || fields["tcb_info"] == nil {
			return Exhibit{}, false
		}
	case isCCEL(b):
		return Exhibit{"boot log (CCEL)", []Section{bootLog(b)}}, true
	}
	c, err := verification.ParseCollateral(b)
	if err != nil {
		return Exhibit{}, false
	}
	return Exhibit{"collateral of Intel", collateralSections(*c, vm.TDX)}, true
}

// der is a certificate or a revocation list.
func der(b []byte) (Exhibit, bool) {
	for _, show := range []func(*Section){
		func(s *Section) { s.certificate("certificate", b) },
		func(s *Section) { s.crl("CRL", b) },
	} {
		s := Section{Title: "DER"}
		if show(&s); s.Rows[0].Value != "cannot be decoded" {
			return Exhibit{"DER, X.509", []Section{s}}, true
		}
	}
	return Exhibit{}, false
}

func collateralSections(c vm.Collateral, _ vm.TEE) []Section {
	lists := Section{Title: "Revocation lists"}
	lists.crl("PCK", c.PCKCRL)
	lists.crl("root", c.RootCACRL)
	return []Section{
		tcbInfo(c.TCBInfo), qeIdentity(c.QEIdentity), lists,
		certificates("Signers of the collateral: TCB info", c.TCBInfoChain), certificates("Signers of the collateral: PCK CRL", c.PCKCRLChain),
	}
}

func tcbInfo(b []byte) Section {
	s := Section{Title: "TCB info"}
	var t collateral.TCBInfo
	inner, _, err := collateral.Open(collateral.KeyTCBInfo, b)
	if err == nil {
		if t, err = collateral.ParseTCBInfo(inner, collateral.IDTDX); err != nil {
			t, err = collateral.ParseTCBInfo(inner, collateral.IDSGX)
		}
	}
	if err != nil {
		s.unread("TCB info", err)
		return s
	}
	s.Title += ": " + t.ID
	s.row("FMSPC, PCE", "%s, %s", t.FMSPC, t.PCEID)
	s.row("issued, next", "%s, %s", day(t.IssueDate), day(t.NextUpdate))
	s.row("evaluation", "%d", t.TCBEvaluationDataNumber)
	for i, l := range t.TCBLevels {
		s.remark(fmt.Sprintf("level %d", i+1), fmt.Sprintf("%s of %s", l.TCBStatus, day(l.TCBDate)), "SGX %s PCE %d TDX %s %s",
			svns(l.TCB.SGX), l.TCB.PCESVN, svns(l.TCB.TDX), strings.Join(l.AdvisoryIDs, " "))
	}
	for _, m := range t.TDXModuleIdentities {
		for _, l := range m.TCBLevels {
			s.remark("module "+m.ID, fmt.Sprintf("%s of %s", l.TCBStatus, day(l.TCBDate)), "from SVN %d %s", l.TCB.ISVSVN, strings.Join(l.AdvisoryIDs, " "))
		}
	}
	return s
}

func svns(parts []collateral.Component) string {
	var out []string
	for _, p := range parts {
		out = append(out, fmt.Sprint(p.SVN))
	}
	return strings.Join(out, ".")
}

func qeIdentity(b []byte) Section {
	s := Section{Title: "Identity of the quoting enclave"}
	var q collateral.QEIdentity
	inner, _, err := collateral.Open(collateral.KeyQEIdentity, b)
	if err == nil {
		if q, err = collateral.ParseQEIdentity(inner, collateral.IDTDQE); err != nil {
			q, err = collateral.ParseQEIdentity(inner, collateral.IDQE)
		}
	}
	if err != nil {
		s.unread("QE identity", err)
		return s
	}
	s.row("id, product", "%s, %d", q.ID, q.ISVProdID)
	s.row("MRSIGNER", "%s", q.MRSigner)
	s.row("issued, next", "%s, %s", day(q.IssueDate), day(q.NextUpdate))
	s.row("evaluation", "%d", q.TCBEvaluationDataNumber)
	for i, l := range q.TCBLevels {
		s.remark(fmt.Sprintf("level %d", i+1), fmt.Sprintf("%s of %s", l.TCBStatus, day(l.TCBDate)), "from SVN %d %s", l.TCB.ISVSVN, strings.Join(l.AdvisoryIDs, " "))
	}
	return s
}
