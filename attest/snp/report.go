package snp

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// ReportSize is the size of an ATTESTATION_REPORT in bytes; signedSize of them
// are signed.
const (
	ReportSize = 0x4a0
	signedSize = 0x2a0
)

// Versions of the report. 3 added the CPU's family, model and stepping, 5 the
// mitigation vectors.
const (
	minVersion         = 2
	versionCPU         = 3
	versionMitigations = 5
	maxVersion         = 5
)

// Signer is the SIGNING_KEY of a report: which key its firmware signed with.
type Signer uint32

// The keys that can sign a report.
const (
	VCEK Signer = 0 // derived from the chip's secret and the reported TCB
	VLEK Signer = 1 // loaded by the provider, who got it from AMD for a TCB
	none Signer = 7
)

func (s Signer) String() string {
	switch s {
	case VCEK:
		return "VCEK"
	case VLEK:
		return "VLEK"
	}
	return fmt.Sprintf("signing key %d", uint32(s))
}

// Version is a version of the firmware.
type Version struct{ Major, Minor, Build uint8 }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Build) }

// Before reports whether v is older than other.
func (v Version) Before(other Version) bool {
	number := func(v Version) uint32 { return uint32(v.Major)<<16 | uint32(v.Minor)<<8 | uint32(v.Build) }
	return number(v) < number(other)
}

// CPU is what CPUID says about the processor; zero in reports of version 2.
type CPU struct{ Family, Model, Stepping uint8 }

// Report is an attestation report. TCBs are as the firmware packs them, which
// differs between products (Line.TCB).
type Report struct {
	Version       uint32
	GuestSVN      uint32
	Policy        GuestPolicy
	FamilyID      [16]byte
	ImageID       [16]byte
	VMPL          uint32 // of whoever asked; HostVMPL: the host asked
	CurrentTCB    uint64 // of what runs
	ReportedTCB   uint64 // of the key that signed
	CommittedTCB  uint64 // below which the firmware cannot be rolled back
	LaunchTCB     uint64 // of what ran when the machine was launched
	Platform      PlatformInfo
	AuthorKeyUsed bool // whether AuthorKey signed the ID key
	ChipKeyMasked bool // whether the host forbids signatures by the VCEK
	Signer        Signer
	ReportData    [64]byte
	Measurement   vm.Register
	HostData      [32]byte
	IDKey         vm.Register // SHA-384 of the key that signed the ID block, or zero
	AuthorKey     vm.Register // SHA-384 of the key that signed the ID key, or zero
	ReportID      [32]byte
	MigrationID   [32]byte // report id of the migration agent; all ones: none
	CPU           CPU
	ChipID        [64]byte // zero where the host masks it
	Current       Version  // firmware that runs
	Committed     Version
	LaunchFixes   uint64 // LAUNCH_MIT_VECTOR, from version 5 on
	CurrentFixes  uint64 // CURRENT_MIT_VECTOR

	signed []byte
	r, s   [48]byte // the signature, big-endian
}

// HostVMPL is the VMPL of a report that the host asked for itself.
const HostVMPL = 0xffffffff

// Decode reads a report. Behind it there may be zeros and nothing else: some
// interfaces hand out whole pages.
func Decode(b []byte) (r Report, err error) {
	if len(b) < ReportSize {
		return r, vm.Refuse(vm.CodeMalformed, "SEV-SNP report has %d bytes, want %d", len(b), ReportSize)
	}
	if !zero(b[ReportSize:]) {
		return r, vm.Refuse(vm.CodeMalformed, "there are other bytes than zeros behind the SEV-SNP report")
	}
	r.Version = u32(b[0x00:])
	if r.Version < minVersion || r.Version > maxVersion {
		return r, vm.Refuse(vm.CodeMalformed, "SEV-SNP report is of a version that is not known").
			On("VERSION", fmt.Sprint(r.Version), fmt.Sprintf("%d to %d", minVersion, maxVersion))
	}
	if err := checkReserved(b, r.Version); err != nil {
		return r, err
	}
	r.signed = b[:signedSize]
	r.readLaunch(b)
	r.readPlatform(b)
	if err := r.readSigner(b); err != nil {
		return r, err
	}
	return r, r.check()
}

// readLaunch reads what was fixed when the machine was launched, and what it
// said itself.
func (r *Report) readLaunch(b []byte) {
	r.GuestSVN = u32(b[0x04:])
	r.Policy = GuestPolicy(u64(b[0x08:]))
	r.FamilyID = [16]byte(b[0x10:])
	r.ImageID = [16]byte(b[0x20:])
	r.VMPL = u32(b[0x30:])
	r.ReportData = [64]byte(b[0x50:])
	r.Measurement = vm.Register(b[0x90:])
	r.HostData = [32]byte(b[0xc0:])
	r.IDKey = vm.Register(b[0xe0:])
	r.AuthorKey = vm.Register(b[0x110:])
	r.ReportID = [32]byte(b[0x140:])
	r.MigrationID = [32]byte(b[0x160:])
	r.LaunchTCB = u64(b[0x1f0:])
	r.LaunchFixes = u64(b[0x1f8:])
}

// readPlatform reads what the firmware says about the platform.
func (r *Report) readPlatform(b []byte) {
	r.CurrentTCB = u64(b[0x38:])
	r.Platform = PlatformInfo(u64(b[0x40:]))
	r.ReportedTCB = u64(b[0x180:])
	if r.Version >= versionCPU {
		r.CPU = CPU{b[0x188], b[0x189], b[0x18a]}
	}
	r.ChipID = [64]byte(b[0x1a0:])
	r.CommittedTCB = u64(b[0x1e0:])
	r.Current = Version{Build: b[0x1e8], Minor: b[0x1e9], Major: b[0x1ea]}
	r.Committed = Version{Build: b[0x1ec], Minor: b[0x1ed], Major: b[0x1ee]}
	r.CurrentFixes = u64(b[0x200:])
}

// readSigner reads who signed, and the signature: r and s of 72 bytes each,
// little-endian, of which P-384 uses 48.
func (r *Report) readSigner(b []byte) error {
	if algorithm := u32(b[0x34:]); algorithm != 1 {
		return vm.Refuse(vm.CodeMalformed, "SEV-SNP report is not signed with ECDSA P-384 and SHA-384").
			On("SIGNATURE_ALGO", fmt.Sprint(algorithm), "1")
	}
	flags := u32(b[0x48:])
	r.AuthorKeyUsed = flags&1 != 0
	r.ChipKeyMasked = flags&2 != 0
	r.Signer = Signer(flags >> 2 & 7)
	for i := range r.r {
		r.r[47-i] = b[signedSize+i]
		r.s[47-i] = b[signedSize+72+i]
	}
	return nil
}

// check refuses reports that contradict themselves.
func (r *Report) check() error {
	switch {
	case r.Signer == none:
		return vm.Refuse(vm.CodeSignature, "the report is not signed: its host lets no key sign").On("SIGNING_KEY", "none", "VCEK or VLEK")
	case r.Signer != VCEK && r.Signer != VLEK:
		return vm.Refuse(vm.CodeMalformed, "the report was signed by a kind of key that is not known").On("SIGNING_KEY", fmt.Sprint(uint32(r.Signer)), "0 (VCEK) or 1 (VLEK)")
	case r.Signer == VCEK && r.ChipKeyMasked:
		return vm.Refuse(vm.CodeSignature, "the report is not signed: its host lets the chip's key sign nothing").
			On("MASK_CHIP_KEY", "1", "0 with SIGNING_KEY VCEK").Try("the host must clear MASK_CHIP_KEY (SNP_CONFIG), or load a VLEK")
	case r.VMPL > 3 && r.VMPL != HostVMPL:
		return vm.Refuse(vm.CodeMalformed, "the report names a privilege level that does not exist").On("VMPL", fmt.Sprint(r.VMPL), "0 to 3")
	case r.AuthorKeyUsed == r.AuthorKey.IsZero():
		return vm.Refuse(vm.CodeMalformed, "the report contradicts itself about its author key").
			On("AUTHOR_KEY_DIGEST", r.AuthorKey.String(), "zero exactly if AUTHOR_KEY_EN is 0")
	}
	if err := r.Policy.check(); err != nil {
		return err
	}
	return r.Platform.check()
}
