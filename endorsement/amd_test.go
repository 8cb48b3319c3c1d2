package endorsement_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// A real report of version 2, which does not say of which line its chip is:
// KDS is asked for Milan, by the chip's id and the reported TCB.
func TestRealVCEK(t *testing.T) {
	const dir = "trustee/deps/verifier/test_data/snp/"
	report, vcek := vectors.Read(t, dir+"test-report.bin"), vectors.Read(t, dir+"test-vcek.der")
	r, err := snp.Decode(report)
	if err != nil {
		t.Fatal(err)
	}
	tcb, err := snp.Milan.TCB("", r.ReportedTCB)
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	b.Put(fmt.Sprintf("/vcek/v1/Milan/%x?blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", r.ChipID, tcb.Bootloader, tcb.TEE, tcb.SNP, tcb.Microcode),
		"application/x-pem-file", vcek)
	b.Put("/vcek/v1/Milan/cert_chain", "application/x-pem-file", vectors.Read(t, "virtee-sev/tests/certs_data/cert_chain_milan"))

	ev := vm.Evidence{TEE: vm.SNP, Quote: report}
	// No vector holds a list of AMD's; everything else is filled in.
	refused(t, endorsement.Complete(context.Background(), &ev, b.options), vm.CodeCollateral, "CRL of Milan VCEK")
	policy := attest.Policy{Accept: []string{"UpToDate", "OutOfDate"}, SNP: attest.SNPPolicy{VMPL: 1, WithoutCRL: true}}
	verdict, err := attest.Verify(ev, attest.Options{Time: july, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	if verdict.SNP.Product != "Milan" || verdict.HardwareID != hex.EncodeToString(r.ChipID[:]) || len(ev.AMD.Chain) == 0 {
		t.Errorf("verdict %+v", verdict)
	}
	b.options.Offline = true
	again := vm.Evidence{TEE: vm.SNP, Quote: report}
	refused(t, endorsement.Complete(context.Background(), &again, b.options), vm.CodeCollateral)
	if string(again.AMD.EndorsementKey) != string(vcek) {
		t.Error("the cache lost the VCEK")
	}
}

// serveAMD serves what is signed for a machine, where KDS has it.
func serveAMD(s *endorsementtest.Services, m snptest.Machine) {
	line, path := string(m.Line), fmt.Sprintf("%x?blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", m.ChipID, m.TCB.Bootloader, m.TCB.TEE, m.TCB.SNP, m.TCB.Microcode)
	if m.Line == snp.Turin {
		path = fmt.Sprintf("%x?fmcSPL=%d&blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", m.ChipID, m.TCB.FMC, m.TCB.Bootloader, m.TCB.TEE, m.TCB.SNP, m.TCB.Microcode)
	}
	endorser := "vcek"
	if m.Signer == snp.VLEK {
		endorser = "vlek"
	} else {
		s.Put("/vcek/v1/"+line+"/"+path, "application/pkix-cert", m.Collateral.EndorsementKey)
	}
	s.Put("/"+endorser+"/v1/"+line+"/cert_chain", "application/x-pem-file", m.Collateral.Chain)
	s.Put("/"+endorser+"/v1/"+line+"/crl", "application/pkix-crl", m.Collateral.CRL)
}

// All of it, for each product line and kind of key, down to the strict verdict.
func TestAMD(t *testing.T) {
	high := snp.TCB{FMC: 1, Bootloader: 250, TEE: 250, SNP: 250, Microcode: 255}
	for _, tt := range []struct {
		name   string
		line   snp.Line
		signer snp.Signer
		carry  bool // the endorsement key comes along
		code   vm.Code
	}{
		{"Milan", snp.Milan, snp.VCEK, false, ""},
		{"Genoa", snp.Genoa, snp.VCEK, false, ""},
		{"Turin", snp.Turin, snp.VCEK, false, ""},
		{"VLEK that came along", snp.Genoa, snp.VLEK, true, ""},
		{"VLEK that nobody serves", snp.Genoa, snp.VLEK, false, vm.CodeCollateral},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tcb := high
			if tt.line != snp.Turin {
				tcb.FMC = 0
			}
			m, err := snptest.Issue(snptest.Plan{Line: tt.line, Signer: tt.signer, TCB: tcb, Now: july})
			if err != nil {
				t.Fatal(err)
			}
			s := endorsementtest.Start(t)
			serveAMD(s, m)
			o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
			ev := vm.Evidence{TEE: vm.SNP, Quote: m.Sign(m.Report())}
			if tt.carry {
				ev.AMD = &vm.AMDCollateral{EndorsementKey: m.Collateral.EndorsementKey}
			}
			if err = endorsement.Complete(context.Background(), &ev, o); tt.code != "" {
				refused(t, err, tt.code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			verdict, err := attest.Verify(ev, attest.Options{Time: july, Roots: roots(m.Root)})
			if err != nil {
				t.Fatal(err)
			}
			if verdict.SNP.SignedBy != tt.signer.String() {
				t.Errorf("verdict %+v", verdict)
			}
			// A list that has ended is renewed only when that is asked for.
			before := ev.AMD.CRL
			o.Time = july.AddDate(0, 0, 5)
			asked := s.Asked("/crl")
			if err := endorsement.Complete(context.Background(), &ev, o); err != nil || s.Asked("/crl") != asked || string(ev.AMD.CRL) != string(before) {
				t.Errorf("asked again for what is there (%v)", err)
			}
			o.Renew = true
			if err := endorsement.Complete(context.Background(), &ev, o); err != nil || s.Asked("/crl") != asked+1 {
				t.Errorf("did not ask for a new list (%v)", err)
			}
		})
	}
}

func TestMaskedChip(t *testing.T) {
	m, err := snptest.Issue(snptest.Plan{Line: snp.Milan, Now: july})
	if err != nil {
		t.Fatal(err)
	}
	b := m.Report()
	clear(b[snptest.ChipID:][:64])
	ev := vm.Evidence{TEE: vm.SNP, Quote: m.Sign(b)}
	refused(t, endorsement.Complete(context.Background(), &ev, endorsement.Options{Offline: true}), vm.CodeCollateral, "CHIP_ID")
}

// A product line's certificates and lists, for an archive.
func TestProductLine(t *testing.T) {
	s := endorsementtest.Start(t)
	for _, signer := range []snp.Signer{snp.VCEK, snp.VLEK} {
		m, err := snptest.Issue(snptest.Plan{Line: snp.Genoa, Signer: signer, Now: july})
		if err != nil {
			t.Fatal(err)
		}
		serveAMD(s, m)
	}
	kinds := map[string]int{}
	o := endorsement.Options{Addresses: s.Addresses(), Time: july.Add(time.Hour), Client: hasty(), Found: func(x endorsement.Finding) { kinds[x.Facts.Kind]++ }}
	if err := endorsement.AMD(context.Background(), "Genoa", o); err != nil {
		t.Fatal(err)
	}
	if kinds[endorsement.KindChain] != 2 || kinds[endorsement.KindCRL] != 2 {
		t.Errorf("found %v", kinds)
	}
	refused(t, endorsement.AMD(context.Background(), "Zen/../7", o), vm.CodeInvalid)
}
