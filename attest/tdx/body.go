package tdx

import (
	"encoding/binary"

	"github.com/secretvm/secretvm/vm"
)

// Body types of version 5 quotes (A.4.2).
const (
	BodyTD10 = 2 // TD report of TDX 1.0, the body of every version 4 quote
	BodyTD15 = 3 // TD report of TDX 1.5

	bodySizeTD10 = 584
	bodySizeTD15 = 648
)

// Body is what the TDX module reported about the machine (A.3.2 and A.4.3).
// The last two fields exist in TDX 1.5 bodies only and are zero otherwise.
type Body struct {
	TD10
	TEETCBSVN2  [16]byte    // 584: SVNs now, after a TD-preserving update
	MRServiceTD vm.Register // 600: hash of the service TDs bound to this one
}

// TD10 is the report body of TDX 1.0, 584 bytes. The number behind each field
// is its offset in the body.
type TD10 struct {
	TEETCBSVN      [16]byte       // 0: [0] module minor SVN, [1] module major version, [2] SEAM loader …
	MRSEAM         vm.Register    // 16: measurement of the TDX module
	MRSignerSEAM   vm.Register    // 64: zero for Intel's own modules
	SEAMAttributes uint64         // 112: zero
	TDAttributes   uint64         // 120
	XFAM           uint64         // 128: extended features the TD may use
	MRTD           vm.Register    // 136
	MRConfigID     vm.Register    // 184
	MROwner        vm.Register    // 232
	MROwnerConfig  vm.Register    // 280
	RTMR           [4]vm.Register // 328, 376, 424, 472
	ReportData     [64]byte       // 520
}

// TD attributes (Intel TDX Module ABI Specification, "ATTRIBUTES").
const (
	AttributeDebug         uint64 = 1 << 0    // TUD.DEBUG: the host may read and write the TD
	AttributesUnderDebug   uint64 = 0xff      // TUD: any of these makes a TD untrusted
	AttributeSEPTVEDisable uint64 = 1 << 28   // no #VE that the host can inject through the secure EPT
	AttributeMigratable    uint64 = 1 << 29   // a service TD may copy it elsewhere
	AttributePKS           uint64 = 1 << 30   // supervisor protection keys
	AttributeKL            uint64 = 1 << 31   // key locker
	AttributePerfmon       uint64 = 1 << 63   // performance monitoring
	XFAMFixed1             uint64 = 0x0000003 // x87 and SSE: always on
	XFAMKnown              uint64 = 0x006dbe7 // every feature defined for TDX 1.0 and 1.5
)

// Measurement returns the identity registers.
func (b Body) Measurement() vm.Measurement {
	return vm.Measurement{MRTD: b.MRTD, RTMR: b.RTMR, MRConfigID: b.MRConfigID}
}

// ModuleMajor and ModuleSVN are the TDX module's version, from TEE_TCB_SVN.
func (b Body) ModuleMajor() byte { return b.TEETCBSVN[1] }

// ModuleSVN is the module's security version within its major version.
func (b Body) ModuleSVN() byte { return b.TEETCBSVN[0] }

// append writes the body of the given type behind b.
func (b *Body) append(to []byte, kind uint16) []byte {
	to = append(to, b.TEETCBSVN[:]...)
	to = append(to, b.MRSEAM[:]...)
	to = append(to, b.MRSignerSEAM[:]...)
	to = binary.LittleEndian.AppendUint64(to, b.SEAMAttributes)
	to = binary.LittleEndian.AppendUint64(to, b.TDAttributes)
	to = binary.LittleEndian.AppendUint64(to, b.XFAM)
	for _, r := range [...]*vm.Register{&b.MRTD, &b.MRConfigID, &b.MROwner, &b.MROwnerConfig, &b.RTMR[0], &b.RTMR[1], &b.RTMR[2], &b.RTMR[3]} {
		to = append(to, r[:]...)
	}
	to = append(to, b.ReportData[:]...)
	if kind == BodyTD15 {
		to = append(to, b.TEETCBSVN2[:]...)
		to = append(to, b.MRServiceTD[:]...)
	}
	return to
}

// decode reads a body of the given type from the front of from, which is long
// enough.
func (b *Body) decode(from []byte, kind uint16) {
	from = take(from, b.TEETCBSVN[:])
	from = take(from, b.MRSEAM[:])
	from = take(from, b.MRSignerSEAM[:])
	b.SEAMAttributes = binary.LittleEndian.Uint64(from)
	b.TDAttributes = binary.LittleEndian.Uint64(from[8:])
	b.XFAM = binary.LittleEndian.Uint64(from[16:])
	from = from[24:]
	for _, r := range [...]*vm.Register{&b.MRTD, &b.MRConfigID, &b.MROwner, &b.MROwnerConfig, &b.RTMR[0], &b.RTMR[1], &b.RTMR[2], &b.RTMR[3]} {
		from = take(from, r[:])
	}
	from = take(from, b.ReportData[:])
	if kind == BodyTD15 {
		from = take(from, b.TEETCBSVN2[:])
		take(from, b.MRServiceTD[:])
	}
}
