package snp

import "time"

// Level is a TCB that closed known weaknesses. AMD signs no list of levels,
// unlike Intel: these are taken from its security bulletins by hand, and are
// as old as this code. A policy can name other floors.
type Level struct {
	TCB        TCB
	Date       time.Time // when the weaknesses became public
	Advisories []string  // AMD's bulletins that older TCBs are exposed to
}

// The bulletins behind the levels:
//
//   - AMD-SB-3019 (CVE-2024-56161, 2025-02-03): hosts could load microcode of
//     their own making. The fixed microcode differs between products (as
//     listed in fwupd's cpu plugin too); the SNP firmware is that of the line.
//   - AMD-SB-3020 (CVE-2025-0033) and AMD-SB-3023 (CVE-2025-48514): hosts
//     could corrupt the table that guards machines' memory, or attack them
//     through SEV-ES machines beside. The Linux kernel names the SNP versions
//     without both (drivers/crypto/ccp/sev-dev.c, sev_firmware_allows_es,
//     2026-04-16); those against the first alone are not told apart.
const (
	bulletinMicrocode = "AMD-SB-3019"
	bulletinRMP       = "AMD-SB-3020"
	bulletinES        = "AMD-SB-3023"
)

var (
	dateMicrocode = time.Date(2025, 2, 3, 0, 0, 0, 0, time.UTC)
	dateES        = time.Date(2026, 4, 16, 0, 0, 0, 0, time.UTC)
)

// Levels returns the known levels of a product, newest first.
func (p Product) Levels() []Level {
	newest := Level{Date: dateES, Advisories: []string{bulletinRMP, bulletinES}}
	microcode := Level{Date: dateMicrocode, Advisories: []string{bulletinMicrocode}}
	switch p.Line() {
	case Milan:
		newest.TCB.SNP, microcode.TCB.SNP = 0x1b, 0x18
	case Genoa:
		newest.TCB.SNP, microcode.TCB.SNP = 0x1b, 0x17
	case Turin:
		newest.TCB.SNP = 4
		return []Level{newest}
	}
	microcode.TCB.Microcode = map[Product]uint8{
		ProductMilan: 0xdb, ProductMilanX: 0x44,
		ProductGenoa: 0x54, ProductGenoaX: 0x4f, ProductBergamo: 0x19,
	}[p]
	newest.TCB.Microcode = microcode.TCB.Microcode
	return []Level{newest, microcode}
}
