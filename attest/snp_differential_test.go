package attest

import (
	"bytes"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	snporacle "github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/vm"
)

// amdName is the form of names that the oracle insists on.
func amdName(common string) pkix.Name {
	return pkix.Name{
		CommonName: common, Organization: []string{"Advanced Micro Devices"}, OrganizationalUnit: []string{"Engineering"},
		Country: []string{"US"}, Locality: []string{"Santa Clara"}, Province: []string{"CA"},
	}
}

const crlAddress = "https://kds.invalid/crl"

// kdsCRL serves one revocation list to the oracle.
type kdsCRL []byte

func (k kdsCRL) Get(string) ([]byte, error) { return k, nil }

// oracleSNP asks google/go-sev-guest: verify, then, unless alone, validate
// with options that say what our zero policy says.
func oracleSNP(b *snpBed, ev vm.Evidence, alone bool) error {
	report, err := abi.ReportToProto(ev.Quote)
	if err != nil {
		return err
	}
	chain := &sevsnp.CertificateChain{AskCert: b.machine.Issuer.Raw, ArkCert: b.machine.Root.Raw}
	certs := &trust.ProductCerts{Ark: b.machine.Root, Ask: b.machine.Issuer}
	if b.machine.Signer == snp.VLEK {
		chain.VlekCert = ev.AMD.EndorsementKey
		certs.Asvk, certs.Ask = b.machine.Issuer, b.otherIssuer
	} else {
		chain.VcekCert = ev.AMD.EndorsementKey
	}
	attestation := &sevsnp.Attestation{Report: report, CertificateChain: chain}
	line := string(b.machine.Line)
	err = snporacle.SnpAttestation(attestation, &snporacle.Options{
		CheckRevocations: true, DisableCertFetching: true, Getter: kdsCRL(ev.AMD.CRL), Now: now,
		TrustedRoots: map[string][]*trust.AMDRootCerts{line: {{ProductLine: line, ProductCerts: certs}}},
	})
	if err != nil || alone {
		return err
	}
	floor := kds.TCBParts{SnpSpl: current[b.machine.Line].SNP, UcodeSpl: current[b.machine.Line].Microcode}
	vmpl := 0
	return validate.SnpAttestation(attestation, &validate.Options{
		GuestPolicy: abi.SnpPolicy{SMT: true}, VMPL: &vmpl, PermitProvisionalFirmware: true, MinimumTCB: floor, MinimumLaunchTCB: floor,
		PlatformInfo: &abi.SnpPlatformInfo{SMTEnabled: true, TSMEEnabled: true, TIOEnabled: true},
	})
}

// TestSNPOracle compares verdicts with google/go-sev-guest, an independent
// verifier. Where they differ, defect names what it does not look at.
func TestSNPOracle(t *testing.T) {
	put := func(at int, n uint64) func([]byte) {
		return func(b []byte) { snptest.Put64(b, at, n) }
	}
	set := func(at int, value ...byte) func([]byte) {
		return func(b []byte) { copy(b[at:], value) }
	}
	milan := func(change func(*snp.TCB)) uint64 {
		tcb := current[snp.Milan]
		change(&tcb)
		return snp.Milan.Pack(tcb)
	}
	for _, row := range []struct {
		name   string
		line   snp.Line // Milan
		plan   func(*snptest.Plan)
		forge  func([]byte) // before the report is signed
		tamper func(*vm.Evidence)
		ok     bool   // our verdict
		defect string // why the oracle's differs
		alone  bool   // without the second call that it needs
	}{
		{name: "sound", ok: true},
		{name: "sound, version 2", forge: func(b []byte) { snptest.Put32(b, snptest.Version, 2); copy(b[snptest.CPUID:], make([]byte, 3)) }, ok: true},
		{name: "sound, version 5", forge: func(b []byte) { snptest.Put32(b, snptest.Version, 5); put(snptest.LaunchFixes, 3)(b) }, ok: true},
		{name: "sound, Genoa", line: snp.Genoa, ok: true},
		{name: "sound, VLEK", plan: func(p *snptest.Plan) { p.Signer = snp.VLEK }, ok: true},
		{name: "report changed", tamper: func(ev *vm.Evidence) { ev.Quote[snptest.Measurement]++ }},
		{name: "signature changed", tamper: func(ev *vm.Evidence) { ev.Quote[snptest.Signature+5]++ }},
		{name: "signature longer than P-384's", tamper: func(ev *vm.Evidence) { ev.Quote[snptest.Signature+60]++ }},
		{name: "debug", forge: put(snptest.Policy, snptest.DefaultPolicy|1<<19)},
		{name: "migration agent", forge: put(snptest.Policy, snptest.DefaultPolicy|1<<18)},
		{name: "CXL", forge: put(snptest.Policy, snptest.DefaultPolicy|1<<21)},
		{name: "VMPL 1", forge: set(snptest.VMPL, 1)},
		{name: "asked for by the host", forge: set(snptest.VMPL, 0xff, 0xff, 0xff, 0xff)},
		{name: "version 6", forge: set(snptest.Version, 6)},
		{name: "another algorithm", forge: set(snptest.SignatureAlgo, 2)},
		{name: "reserved bit of the policy", forge: put(snptest.Policy, snptest.DefaultPolicy|1<<40)},
		{name: "reserved bit of the platform", forge: put(snptest.PlatformInfo, 1<<20)},
		{name: "reserved bytes", forge: set(snptest.Reserved3, 1)},
		{name: "signed by nobody", forge: set(snptest.Flags, 7<<2)},
		{name: "another chip", forge: set(snptest.ChipID, 9)},
		{name: "another TCB", forge: put(snptest.ReportedTCB, milan(func(t *snp.TCB) { t.SNP++ }))},
		{name: "below the floor", plan: func(p *snptest.Plan) { p.TCB.SNP-- }},
		{name: "launched below the floor", forge: put(snptest.LaunchTCB, milan(func(t *snp.TCB) { t.Microcode-- }))},
		{name: "runs less than it has committed to", forge: put(snptest.CommittedTCB, milan(func(t *snp.TCB) { t.SNP++ }))},
		{name: "expired", plan: func(p *snptest.Plan) { p.To = now.AddDate(0, 0, -1) }},
		{name: "not valid yet", plan: func(p *snptest.Plan) { p.From = now.AddDate(0, 0, 1) }},
		{name: "issuer revoked", plan: func(p *snptest.Plan) { p.Revoked = []*big.Int{snptest.IssuerSerial} }},
		{name: "issuer of another key", plan: func(p *snptest.Plan) { p.IssuerName = "SEV-VLEK-Milan" }},
		{name: "RSA without PSS", plan: func(p *snptest.Plan) { p.Algorithm = 4 }},

		{name: "sound, Turin", line: snp.Turin, ok: true, defect: "does not know Turin's certificates (FMC, chip id of 8 bytes)"},
		{name: "sound, Siena", line: snp.Genoa, forge: set(snptest.CPUID, 0x19, 0xa0, 2), ok: true, defect: "does not know the CPUID of Bergamo and Siena"},
		{name: "revocation list expired", plan: func(p *snptest.Plan) { p.CRLFrom, p.CRLTo = now.AddDate(0, 0, -9), now.AddDate(0, 0, -1) }, defect: "does not look at the dates of a list that it has just fetched"},
		{name: "VLEK's issuer revoked", plan: func(p *snptest.Plan) {
			p.Signer, p.Serial = snp.VLEK, big.NewInt(0x7f0101)
			p.Revoked = []*big.Int{p.Serial}
		}, defect: "compares the ASK with the list, never the ASVK"},
		{name: "chip key masked, signed all the same", forge: set(snptest.Flags, 2), defect: "does not look at MASK_CHIP_KEY"},
		{name: "author key without a digest", forge: set(snptest.Flags, 1), defect: "does not compare AUTHOR_KEY_EN with the digest"},
		{name: "mitigations before version 5", forge: put(snptest.LaunchFixes, 1), defect: "reads the fields of version 5 in every version"},
		{name: "masked chip id", forge: set(snptest.ChipID, make([]byte, 64)...), defect: "accepts a masked chip id without being asked to"},
		{name: "can go back below the floor", forge: put(snptest.CommittedTCB, milan(func(t *snp.TCB) { t.SNP-- })), defect: "does not compare COMMITTED_TCB with the floor"},
		{name: "reports less than it has committed to", forge: func(b []byte) {
			put(snptest.CommittedTCB, milan(func(t *snp.TCB) { t.SNP++ }))(b)
			put(snptest.CurrentTCB, milan(func(t *snp.TCB) { t.SNP++ }))(b)
		}, defect: "has no word for REPORTED_TCB held below COMMITTED_TCB"},
		{name: "a migration agent without leave", forge: set(snptest.MigrationID, 1), defect: "does not look at REPORT_ID_MA"},
		{name: "bytes behind the report", tamper: func(ev *vm.Evidence) { ev.Quote = append(ev.Quote, 1) }, defect: "ignores what stands behind the report"},
		{name: "another chip, verify alone", forge: set(snptest.ChipID, 9), alone: true, defect: "verify does not bind CHIP_ID, only validate does"},
		{name: "another TCB, verify alone", forge: put(snptest.ReportedTCB, milan(func(t *snp.TCB) { t.SNP++ })), alone: true, defect: "verify does not bind REPORTED_TCB, only validate does"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.line == "" {
				row.line = snp.Milan
			}
			b := newSNPBed(t, row.line, func(p *snptest.Plan) {
				p.Name, p.CRLAddress = amdName, crlAddress
				if row.plan != nil {
					row.plan(p)
				}
			})
			if b.machine.Signer == snp.VLEK {
				b.otherIssuer = newSNPBed(t, row.line, func(p *snptest.Plan) { p.Name, p.CRLAddress = amdName, crlAddress }).machine.Issuer
			}
			if row.forge != nil {
				row.forge(b.report)
			}
			if row.name == "sound, Siena" {
				b.options.Policy.SNP.MinimumTCB = map[snp.Product]snp.TCB{snp.ProductBergamo: {}}
			}
			ev := b.evidence()
			if row.tamper != nil {
				row.tamper(&ev)
			}
			_, ours := Verify(ev, b.options)
			theirs := oracleSNP(b, ev, row.alone)
			if want := row.ok == (row.defect == ""); (ours == nil) != row.ok || (theirs == nil) != want {
				t.Errorf("accepted here: %v (%v), by the oracle: %v (%v), want %v and %v", ours == nil, ours, theirs == nil, theirs, row.ok, want)
			}
		})
	}
}

// TestSNPOracleVectors compares verdicts on genuine reports, with AMD's roots.
func TestSNPOracleVectors(t *testing.T) {
	for _, v := range snpVectors() {
		if v.code != "" && v.code != vm.CodeSignature && v.code != vm.CodeDebug {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			ev := vm.Evidence{TEE: vm.SNP, Quote: v.report(t), AMD: v.amd(t)}
			report, err := abi.ReportToProto(ev.Quote)
			if err != nil {
				t.Fatal(err)
			}
			line := 0 // of what is built in: Milan, Genoa, Turin, and the same for VLEKs
			if strings.Contains(v.name, "genoa") {
				line = 1
			}
			chain := &sevsnp.CertificateChain{VcekCert: ev.AMD.EndorsementKey}
			if bytes.Contains(ev.AMD.EndorsementKey, []byte("SEV-VLEK")) {
				chain = &sevsnp.CertificateChain{VlekCert: ev.AMD.EndorsementKey}
			}
			root := snp.Roots()[line]
			chain.AskCert, chain.ArkCert = snp.Intermediates()[line].Raw, root.Raw
			name := strings.TrimPrefix(root.Subject.CommonName, "ARK-")
			certs := &trust.ProductCerts{Ark: root, Ask: snp.Intermediates()[line], Asvk: snp.Intermediates()[line+3]}
			theirs := snporacle.SnpAttestation(&sevsnp.Attestation{Report: report, CertificateChain: chain}, &snporacle.Options{
				DisableCertFetching: true, Now: v.when(), TrustedRoots: map[string][]*trust.AMDRootCerts{name: {{ProductLine: name, ProductCerts: certs}}},
			})
			// It looks at DEBUG in its second call only.
			if want := v.code != vm.CodeSignature; (theirs == nil) != want {
				t.Errorf("accepted by the oracle: %v (%v), want %v", theirs == nil, theirs, want)
			}
		})
	}
}
