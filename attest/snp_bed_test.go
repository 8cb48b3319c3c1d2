package attest

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/vm"
)

// current is a TCB without a known weakness on each line.
var current = map[snp.Line]snp.TCB{
	snp.Milan: {Bootloader: 4, SNP: 0x1b, Microcode: 0xdb},
	snp.Genoa: {Bootloader: 10, SNP: 0x1b, Microcode: 0x54},
	snp.Turin: {FMC: 1, Bootloader: 1, TEE: 1, SNP: 4, Microcode: 0x53},
}

// snpBed is a development chip and evidence that it signed.
type snpBed struct {
	machine snptest.Machine
	report  []byte // signed at evidence
	options Options

	otherIssuer *x509.Certificate // of VCEKs, where the chip signs with a VLEK
}

// newSNPBed makes a chip as planned, after change, and a sound report.
func newSNPBed(t testing.TB, line snp.Line, change func(*snptest.Plan)) *snpBed {
	t.Helper()
	plan := snptest.Plan{Line: line, TCB: current[line], Now: now}
	if change != nil {
		change(&plan)
	}
	machine, err := snptest.Issue(plan)
	if err != nil {
		t.Fatal(err)
	}
	b := &snpBed{machine: machine, report: machine.Report(), options: Options{Time: now}}
	b.options.Roots = append(b.options.Roots, machine.Root)
	return b
}

// evidence signs the report and gives it with its certificates.
func (b *snpBed) evidence() vm.Evidence {
	c := b.machine.Collateral
	return vm.Evidence{TEE: vm.SNP, Quote: b.machine.Sign(append([]byte{}, b.report...)), AMD: &c}
}

func (b *snpBed) verify() (vm.Verdict, error) { return Verify(b.evidence(), b.options) }

func TestSNPSound(t *testing.T) {
	for _, row := range []struct {
		line    snp.Line
		version uint32
		signer  snp.Signer
		cpu     [3]byte
		product string
	}{
		{snp.Milan, 2, snp.VCEK, [3]byte{}, "Milan"},
		{snp.Milan, 3, snp.VCEK, [3]byte{0x19, 1, 1}, "Milan"},
		{snp.Milan, 3, snp.VLEK, [3]byte{0x19, 1, 1}, "Milan"},
		{snp.Milan, 4, snp.VCEK, [3]byte{0x19, 1, 2}, "Milan-X"},
		{snp.Genoa, 3, snp.VCEK, [3]byte{0x19, 0x11, 1}, "Genoa"},
		{snp.Genoa, 5, snp.VLEK, [3]byte{0x19, 0x11, 2}, "Genoa-X"},
		{snp.Genoa, 5, snp.VCEK, [3]byte{0x19, 0xa0, 2}, "Bergamo/Siena"},
		{snp.Turin, 3, snp.VCEK, [3]byte{0x1a, 0x02, 1}, "Turin"},
		{snp.Turin, 5, snp.VCEK, [3]byte{0x1a, 0x11, 0}, "Turin"},
		{snp.Turin, 5, snp.VLEK, [3]byte{0x1a, 0x02, 1}, "Turin"},
	} {
		t.Run(row.product+" "+row.signer.String(), func(t *testing.T) {
			b := newSNPBed(t, row.line, func(p *snptest.Plan) { p.Signer = row.signer })
			snptest.Put32(b.report, snptest.Version, row.version)
			copy(b.report[snptest.CPUID:], row.cpu[:])
			if row.version >= 5 {
				snptest.Put64(b.report, snptest.LaunchFixes, 3)
			}
			v, err := b.verify()
			if err != nil {
				t.Fatal(err)
			}
			if v.TEE != vm.Soft || v.SNP.Product != row.product || v.SNP.SignedBy != row.signer.String() || v.SNP.Version != row.version || v.TCBStatus != "UpToDate" {
				t.Errorf("verdict is %+v of %+v", v, v.SNP)
			}
			wantID := map[snp.Line]int{snp.Milan: 128, snp.Genoa: 128, snp.Turin: 16}[row.line]
			if row.signer == snp.VLEK {
				wantID = 0
			}
			if len(v.HardwareID) != wantID || v.Anchor.Vendor != "" {
				t.Errorf("hardware id %q, vendor %q", v.HardwareID, v.Anchor.Vendor)
			}
			if want := now.AddDate(0, 0, 1).Truncate(time.Second); !v.ValidUntil.Equal(want) {
				t.Errorf("valid until %v, want %v", v.ValidUntil, want)
			}
		})
	}
}
