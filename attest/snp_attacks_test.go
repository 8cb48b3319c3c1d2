package attest

import (
	"crypto/elliptic"
	"crypto/x509"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/vm"
)

// TestK8_SNPReports signs reports that are wrong, with a sound chip.
func TestK8_SNPReports(t *testing.T) {
	put32 := func(at int, n uint32) func(*snpBed) {
		return func(b *snpBed) { snptest.Put32(b.report, at, n) }
	}
	put64 := func(at int, n uint64) func(*snpBed) {
		return func(b *snpBed) { snptest.Put64(b.report, at, n) }
	}
	set := func(at int, bytes ...byte) func(*snpBed) {
		return func(b *snpBed) { copy(b.report[at:], bytes) }
	}
	policy := func(change func(*Policy)) func(*snpBed) {
		return func(b *snpBed) { change(&b.options.Policy) }
	}
	pack := func(t snp.TCB) uint64 { return snp.Milan.Pack(t) }
	for _, row := range []struct {
		name   string
		change func(*snpBed)
		code   vm.Code
		say    string
	}{
		{"version 1", put32(snptest.Version, 1), vm.CodeMalformed, "version"},
		{"version 6", put32(snptest.Version, 6), vm.CodeMalformed, "version"},
		{"migration agent", put64(snptest.Policy, snptest.DefaultPolicy|1<<18), vm.CodeAttributes, "MIGRATE_MA"},
		{"migration agent bound without leave", set(snptest.MigrationID, 1), vm.CodeAttributes, "migration agent"},
		{"migration agent that is hard to see", set(snptest.MigrationID, 0xfe), vm.CodeAttributes, "migration agent"},
		{"CXL", put64(snptest.Policy, snptest.DefaultPolicy|1<<21), vm.CodeAttributes, "CXL"},
		{"SMT", policy(func(p *Policy) { p.SNP.NoSMT = true }), vm.CodeAttributes, "SMT"},
		{"single socket wanted", policy(func(p *Policy) { p.SNP.Require = snp.PolicySingleSocket }), vm.CodeAttributes, "SINGLE_SOCKET"},
		{"ciphertext hiding wanted", policy(func(p *Policy) { p.SNP.Require = snp.PolicyCiphertextHiding }), vm.CodeAttributes, "CIPHERTEXT"},
		{"ciphertext hiding of the host wanted", policy(func(p *Policy) { p.SNP.RequirePlatform = snp.PlatformCiphertextHiding }), vm.CodeAttributes, "CIPHERTEXT"},
		{"TSME wanted", policy(func(p *Policy) { p.SNP.RequirePlatform = snp.PlatformTSME }), vm.CodeAttributes, "TSME"},
		{"ABI below the policy", policy(func(p *Policy) { p.SNP.ABI = snp.Version{Major: 1, Minor: 51} }), vm.CodeAttributes, "older firmware"},
		{"firmware below the policy", policy(func(p *Policy) { p.SNP.Firmware = snp.Version{Major: 1, Minor: 55, Build: 30} }), vm.CodePolicy, "1.55.30"},
		{"reserved bit of the policy clear", put64(snptest.Policy, 0x10000), vm.CodeMalformed, "reserved"},
		{"reserved bit of the policy set", put64(snptest.Policy, snptest.DefaultPolicy|1<<26), vm.CodeMalformed, "reserved"},
		{"reserved bit of the platform", put64(snptest.PlatformInfo, 1<<6), vm.CodeMalformed, "reserved"},
		{"reserved bit of the flags", put32(snptest.Flags, 1<<5), vm.CodeMalformed, "reserved"},
		{"reserved bytes behind the flags", set(snptest.Reserved1, 1), vm.CodeMalformed, "reserved"},
		{"reserved bytes behind CPUID", set(snptest.Reserved2, 1), vm.CodeMalformed, "reserved"},
		{"reserved bytes at the end", set(snptest.Reserved3+100, 1), vm.CodeMalformed, "reserved"},
		{"CPUID in version 2", put32(snptest.Version, 2), vm.CodeMalformed, "reserved"},
		{"mitigations before version 5", put64(snptest.LaunchFixes, 1), vm.CodeMalformed, "reserved"},
		{"another signature algorithm", put32(snptest.SignatureAlgo, 2), vm.CodeMalformed, "SIGNATURE_ALGO"},
		{"signed by nobody", put32(snptest.Flags, 7<<2), vm.CodeSignature, "not signed"},
		{"signed by an unknown key", put32(snptest.Flags, 3<<2), vm.CodeMalformed, "SIGNING_KEY"},
		{"signed by a VLEK, it says", put32(snptest.Flags, 1<<2), vm.CodeCollateral, "another kind of key"},
		{"chip key masked", put32(snptest.Flags, 2), vm.CodeSignature, "MASK_CHIP_KEY"},
		{"author key without a digest", put32(snptest.Flags, 1), vm.CodeMalformed, "author key"},
		{"author key digest without a key", set(snptest.AuthorKey, 1), vm.CodeMalformed, "author key"},
		{"VMPL 1", put32(snptest.VMPL, 1), vm.CodeAttributes, "VMPL"},
		{"VMPL 3 under a policy for 2", func(b *snpBed) {
			put32(snptest.VMPL, 3)(b)
			b.options.Policy.SNP.VMPL = 2
		}, vm.CodeAttributes, "VMPL"},
		{"VMPL 4", put32(snptest.VMPL, 4), vm.CodeMalformed, "VMPL"},
		{"asked for by the host", put32(snptest.VMPL, 0xffffffff), vm.CodeAttributes, "host asked"},
		{"guest SVN", policy(func(p *Policy) { p.SNP.GuestSVN = 1 }), vm.CodePolicy, "GUEST_SVN"},
		{"ID key wanted", policy(func(p *Policy) { p.SNP.IDKeys = []vm.Register{{1}} }), vm.CodePolicy, "ID_KEY_DIGEST"},
		{"author key wanted", policy(func(p *Policy) { p.SNP.AuthorKeys = []vm.Register{{1}} }), vm.CodePolicy, "AUTHOR_KEY_DIGEST"},
		{"other host data", policy(func(p *Policy) { p.SNP.HostData = [][32]byte{{9}} }), vm.CodeConfig, "HOST_DATA"},
		{"other product", policy(func(p *Policy) { p.SNP.Products = []snp.Product{snp.ProductTurin} }), vm.CodeHardware, "product"},
		{"other machine", policy(func(p *Policy) { p.Hardware = []string{"aa"} }), vm.CodeHardware, "hardware id"},
		{"another chip", set(snptest.ChipID, 9), vm.CodeCollateral, "another chip"},
		{"masked chip id", set(snptest.ChipID, make([]byte, 64)...), vm.CodeCollateral, "masks"},
		{"another processor", set(snptest.CPUID, 0x19, 0x11, 1), vm.CodeCollateral, "another product"},
		{"unknown processor", set(snptest.CPUID, 0x1b, 1, 1), vm.CodeMalformed, "not known"},
		{"reported TCB of another key", put64(snptest.ReportedTCB, pack(snp.TCB{Bootloader: 4, SNP: 0x1b, Microcode: 0xdc})), vm.CodeCollateral, "another TCB"},
		{"reserved bytes of the TCB", put64(snptest.LaunchTCB, pack(current[snp.Milan])|1<<24), vm.CodeMalformed, "LAUNCH_TCB"},
		{"launched on older firmware", put64(snptest.LaunchTCB, pack(snp.TCB{Bootloader: 4, SNP: 0x1a, Microcode: 0xdb})), vm.CodeTCB, "AMD-SB-3023"},
		{"can go back to older firmware", put64(snptest.CommittedTCB, pack(snp.TCB{Bootloader: 4, SNP: 0x1b, Microcode: 0xda})), vm.CodeTCB, "AMD-SB-3019"},
		{"runs older firmware than committed", put64(snptest.CurrentTCB, pack(snp.TCB{Bootloader: 3, SNP: 0x1b, Microcode: 0xdb})), vm.CodeTCB, "older than"},
		{"reports less than committed", func(b *snpBed) {
			newer := pack(snp.TCB{Bootloader: 4, SNP: 0x1c, Microcode: 0xdb})
			put64(snptest.CommittedTCB, newer)(b)
			put64(snptest.CurrentTCB, newer)(b)
		}, vm.CodeTCB, "ConfigurationNeeded"},
		{"below the policy's floor", policy(func(p *Policy) {
			p.SNP.MinimumTCB = map[snp.Product]snp.TCB{snp.ProductMilan: {Bootloader: 5}}
		}), vm.CodeTCB, "OutOfDate"},
		{"grace is over", func(b *snpBed) {
			put64(snptest.LaunchTCB, pack(snp.TCB{Bootloader: 4, SNP: 0x1a, Microcode: 0xdb}))(b)
			b.options.Policy.Grace = 24 * time.Hour
		}, vm.CodeTCB, "OutOfDate"},
		{"one advisory of two", func(b *snpBed) {
			put64(snptest.LaunchTCB, pack(snp.TCB{Bootloader: 4, SNP: 0x1a, Microcode: 0xdb}))(b)
			b.options.Policy.Advisories = []string{"AMD-SB-3020"}
		}, vm.CodeTCB, "OutOfDate"},
		{"trailing bytes", func(b *snpBed) { b.report = append(b.report, 0, 0, 1) }, vm.CodeMalformed, "behind"},
		{"cut", func(b *snpBed) { b.report = b.report[:snp.ReportSize-1] }, vm.CodeMalformed, "1183 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := sharedBed(t)
			row.change(b)
			_, err := b.verifyShort()
			r := refused(t, err, row.code)
			if !strings.Contains(r.Error(), row.say) {
				t.Errorf("refused with %q, want it to say %q", r.Error(), row.say)
			}
		})
	}
}

// TestB5_SNPDebug launches a machine that its host can read and change: no
// policy accepts it, nor can one be written that would.
func TestB5_SNPDebug(t *testing.T) {
	for _, allow := range []snp.GuestPolicy{0, allowable} {
		b := sharedBed(t)
		snptest.Put64(b.report, snptest.Policy, snptest.DefaultPolicy|uint64(snp.PolicyDebug))
		b.options.Policy.SNP.Allow = allow
		_, err := b.verify()
		if r := refused(t, err, vm.CodeDebug); !strings.Contains(r.Found, "DEBUG") {
			t.Errorf("found %q", r.Found)
		}
	}
	b := sharedBed(t)
	b.options.Policy.SNP.Allow = snp.PolicyDebug
	_, err := b.verify()
	refused(t, err, vm.CodeInvalid)
}

// TestSNPPolicyIsChecked refuses policies that say what they cannot mean.
func TestSNPPolicyIsChecked(t *testing.T) {
	for name, policy := range map[string]SNPPolicy{
		"VMPL 4":               {VMPL: 4},
		"floor of nothing":     {MinimumTCB: map[snp.Product]snp.TCB{"Rome": {}}},
		"unknown product":      {Products: []snp.Product{"Naples"}},
		"debug allowed":        {Allow: snp.PolicyDebug},
		"SMT required":         {Require: snp.PolicySMT},
		"migration required":   {Require: snp.PolicyMigrationAgent},
		"ID key of nobody":     {IDKeys: []vm.Register{{}}},
		"author key of nobody": {AuthorKeys: []vm.Register{{1}, {}}},
	} {
		b := sharedBed(t)
		b.options.Policy.SNP = policy
		if _, err := b.verify(); vm.CodeOf(err) != vm.CodeInvalid {
			t.Errorf("%s: %v, want %s", name, err, vm.CodeInvalid)
		}
	}
}

// TestSNPProviders accepts the VLEK of a named provider only. The host may
// forbid the chip's own key beside it.
func TestSNPProviders(t *testing.T) {
	b := newSNPBed(t, snp.Genoa, func(p *snptest.Plan) { p.Signer = snp.VLEK })
	snptest.Put32(b.report, snptest.Flags, uint32(snp.VLEK)<<2|2)
	copy(b.report[snptest.ChipID:], []byte{1, 2, 3})
	b.options.Policy.SNP.Providers = []string{"CN=development"}
	v, err := b.verify()
	if err != nil || !strings.HasPrefix(v.HardwareID, "010203") {
		t.Fatalf("hardware %q, %v", v.HardwareID, err)
	}
	b.options.Policy.SNP.Providers = []string{"CN=somebody.else"}
	_, err = b.verify()
	refused(t, err, vm.CodeHardware)
}

// shared is one sound Milan machine for rows that change the report only.
var shared *snpBed

func sharedBed(t testing.TB) *snpBed {
	t.Helper()
	if shared == nil {
		shared = newSNPBed(t, snp.Milan, nil)
	}
	b := *shared
	b.report = b.machine.Report()
	return &b
}

// verifyShort is verify for reports that may be too short to sign.
func (b *snpBed) verifyShort() (vm.Verdict, error) {
	if len(b.report) >= snp.ReportSize {
		return b.verify()
	}
	c := b.machine.Collateral
	return Verify(vm.Evidence{TEE: vm.SNP, Quote: b.report, AMD: &c}, b.options)
}

// TestK7_SNPAcceptedByPolicy shows that what the strictest policy refuses passes
// when the policy says so.
func TestK7_SNPAcceptedByPolicy(t *testing.T) {
	for name, change := range map[string]func(*snpBed){
		"migration agent": func(b *snpBed) {
			snptest.Put64(b.report, snptest.Policy, snptest.DefaultPolicy|1<<18)
			b.report[snptest.MigrationID] = 1
			b.options.Policy.SNP.Allow = snp.PolicyMigrationAgent
		},
		"CXL": func(b *snpBed) {
			snptest.Put64(b.report, snptest.Policy, snptest.DefaultPolicy|1<<21)
			b.options.Policy.SNP.Allow = snp.PolicyCXL
		},
		"VMPL 1": func(b *snpBed) { snptest.Put32(b.report, snptest.VMPL, 1); b.options.Policy.SNP.VMPL = 1 },
		"no SMT": func(b *snpBed) { snptest.Put64(b.report, snptest.Policy, 1<<17); b.options.Policy.SNP.NoSMT = true },
		"required bits": func(b *snpBed) {
			snptest.Put64(b.report, snptest.Policy, snptest.DefaultPolicy|uint64(requirable)|1<<8|51)
			b.options.Policy.SNP.Require, b.options.Policy.SNP.ABI = requirable, snp.Version{Major: 1, Minor: 51}
			b.options.Policy.SNP.RequirePlatform = snp.PlatformAliasCheck | snp.PlatformECC
		},
		"ID key": func(b *snpBed) {
			b.report[snptest.IDKey] = 7
			b.options.Policy.SNP.IDKeys = []vm.Register{{1}, {7}}
		},
		"author key": func(b *snpBed) {
			b.report[snptest.AuthorKey] = 7
			b.report[snptest.Flags] |= 1
			b.options.Policy.SNP.AuthorKeys = []vm.Register{{7}}
		},
		"masked chip id": func(b *snpBed) {
			clear(b.report[snptest.ChipID:][:64])
			b.options.Policy.SNP.MaskedChipID = true
			b.options.Policy.Hardware = []string{strings.ToUpper("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20" +
				"2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40")}
		},
		"an advisory": func(b *snpBed) {
			old := snp.Milan.Pack(snp.TCB{Bootloader: 4, SNP: 0x1a, Microcode: 0xdb})
			snptest.Put64(b.report, snptest.LaunchTCB, old)
			b.options.Policy.Advisories = []string{"AMD-SB-3020", "AMD-SB-3023"}
		},
		"grace": func(b *snpBed) {
			snptest.Put64(b.report, snptest.LaunchTCB, snp.Milan.Pack(snp.TCB{Bootloader: 4, SNP: 0x1a, Microcode: 0xdb}))
			b.options.Policy.Grace = 24 * time.Hour
			b.options.Time = time.Date(2026, 4, 16, 12, 0, 0, 0, time.UTC)
			*b = *b.at(t, b.options.Time)
		},
		"no list":                    func(b *snpBed) { b.machine.Collateral.CRL = nil; b.options.Policy.SNP.WithoutCRL = true },
		"zeros behind it":            func(b *snpBed) { b.report = append(b.report, make([]byte, 1000)...) },
		"issuer alone in the bundle": func(b *snpBed) { b.machine.Collateral.Chain = snptest.Bundle(b.machine.Issuer) },
		"a floor of its own": func(b *snpBed) {
			b.options.Policy.SNP.MinimumTCB = map[snp.Product]snp.TCB{snp.ProductMilan: {SNP: 1}}
			snptest.Put64(b.report, snptest.LaunchTCB, snp.Milan.Pack(snp.TCB{Bootloader: 1, SNP: 1}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := sharedBed(t)
			change(b)
			if _, err := b.verify(); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// at makes the same report from a machine whose certificates are valid then.
func (b *snpBed) at(t testing.TB, when time.Time) *snpBed {
	t.Helper()
	other := newSNPBed(t, b.machine.Line, func(p *snptest.Plan) { p.Now = when })
	other.report, other.options.Policy, other.options.Time = b.report, b.options.Policy, when
	return other
}

// TestK7_SNPCertificates makes certificates that are well signed and wrong.
func TestK7_SNPCertificates(t *testing.T) {
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	alter := func(suffix []int, value []byte) func(*snptest.Plan) {
		return func(p *snptest.Plan) {
			p.Alter = func(fields []snptest.Field) []snptest.Field {
				fields = slices.DeleteFunc(fields, func(f snptest.Field) bool { return slices.Equal(f.Suffix, suffix) })
				if value == nil {
					return fields
				}
				return append(fields, snptest.Field{Suffix: suffix, Value: value})
			}
		}
	}
	add := func(f ...snptest.Field) func(*snptest.Plan) {
		return func(p *snptest.Plan) {
			p.Alter = func(fields []snptest.Field) []snptest.Field { return append(fields, f...) }
		}
	}
	for _, row := range []struct {
		name string
		plan func(*snptest.Plan)
		code vm.Code
		say  string
	}{
		{"expired", func(p *snptest.Plan) { p.To = day(-1) }, vm.CodeExpired, "SEV-VCEK"},
		{"not valid yet", func(p *snptest.Plan) { p.From = day(1) }, vm.CodeExpired, "SEV-VCEK"},
		{"list expired", func(p *snptest.Plan) { p.CRLFrom, p.CRLTo = day(-3), day(-1) }, vm.CodeExpired, "revocation list"},
		{"list not valid yet", func(p *snptest.Plan) { p.CRLFrom, p.CRLTo = day(1), day(2) }, vm.CodeExpired, "revocation list"},
		{"issuer revoked", func(p *snptest.Plan) { p.Revoked = []*big.Int{big.NewInt(5), snptest.IssuerSerial} }, vm.CodeRevoked, "7f0001"},
		{"VLEK that is called VCEK", func(p *snptest.Plan) { p.Signer, p.KeyName = snp.VLEK, "SEV-VCEK" }, vm.CodeMalformed, "chip id"},
		{"VCEK that is called VLEK", func(p *snptest.Plan) { p.KeyName = "SEV-VLEK" }, vm.CodeMalformed, "names a chip"},
		{"VCEK below the VLEK's issuer", func(p *snptest.Plan) { p.IssuerName = "SEV-VLEK-Milan" }, vm.CodeChain, "CA of something else"},
		{"issuer of another product", func(p *snptest.Plan) { p.IssuerName = "SEV-Genoa" }, vm.CodeChain, "CA of something else"},
		{"root of another product", func(p *snptest.Plan) { p.RootName = "ARK-Genoa" }, vm.CodeChain, "root of something else"},
		{"another name", func(p *snptest.Plan) { p.KeyName = "SEV-ASK" }, vm.CodeChain, "not that of an endorsement key"},
		{"issuer that is no CA", func(p *snptest.Plan) { p.IssuerIsNoCA = true }, vm.CodeChain, "no CA"},
		{"root that signs no lists", func(p *snptest.Plan) { p.RootSignsNoCRL = true }, vm.CodeChain, "may not sign"},
		{"key on another curve", func(p *snptest.Plan) { p.Curve = elliptic.P256() }, vm.CodeMalformed, "P-384"},
		{"another signature scheme", func(p *snptest.Plan) { p.Algorithm = x509.SHA384WithRSA }, vm.CodeMalformed, "RSA-PSS"},
		{"unknown product", func(p *snptest.Plan) { p.Product = "Rome-B0" }, vm.CodeMalformed, "product"},
		{"product of another line", func(p *snptest.Plan) { p.Product = "Genoa-B1" }, vm.CodeChain, "Genoa"},
		{"no product", alter([]int{2}, nil), vm.CodeMalformed, "IA5String"},
		{"product in another string type", alter([]int{2}, append([]byte{12, 8}, "Milan-B0"...)), vm.CodeMalformed, "IA5String"},
		{"no boot loader", alter([]int{3, 1}, nil), vm.CodeMalformed, "INTEGER"},
		{"SNP of two bytes", alter([]int{3, 3}, []byte{2, 2, 1, 0}), vm.CodeMalformed, "INTEGER"},
		{"negative microcode", alter([]int{3, 8}, []byte{2, 1, 0xdb}), vm.CodeMalformed, "INTEGER"},
		{"overlong SNP", alter([]int{3, 3}, []byte{2, 2, 0, 0x1b}), vm.CodeMalformed, "INTEGER"},
		{"other microcode", alter([]int{3, 8}, []byte{2, 2, 0, 0xdc}), vm.CodeCollateral, "another TCB"},
		{"reserved part", alter([]int{3, 5}, []byte{2, 1, 1}), vm.CodeMalformed, "reserved"},
		{"no chip", alter([]int{4}, nil), vm.CodeMalformed, "chip id"},
		{"chip of 8 bytes", alter([]int{4}, make([]byte, 8)), vm.CodeMalformed, "chip id"},
		{"other chip", alter([]int{4}, make([]byte, 64)), vm.CodeCollateral, "another chip"},
		{"FMC on Milan", add(snptest.Field{Suffix: []int{3, 9}, Value: []byte{2, 1, 1}}), vm.CodeMalformed, "FMC"},
		{"unknown AMD extension", add(snptest.Field{Suffix: []int{6}, Value: []byte{2, 1, 0}}), vm.CodeMalformed, "not known"},
		{"provider in a VCEK", add(snptest.Field{Suffix: []int{5}, Value: []byte{22, 1, 'x'}}), vm.CodeMalformed, "provider"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newSNPBed(t, snp.Milan, row.plan)
			b.report = sharedBed(t).report
			_, err := b.verify()
			r := refused(t, err, row.code)
			if !strings.Contains(r.Error(), row.say) {
				t.Errorf("refused with %q, want it to say %q", r.Error(), row.say)
			}
		})
	}
}
