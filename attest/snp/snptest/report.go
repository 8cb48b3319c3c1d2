package snptest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"

	"github.com/secretvm/secretvm/attest/snp"
)

// Offsets of fields in a report (AMD publication 56860, "ATTESTATION_REPORT").
const (
	Version        = 0x000
	GuestSVN       = 0x004
	Policy         = 0x008
	FamilyID       = 0x010
	ImageID        = 0x020
	VMPL           = 0x030
	SignatureAlgo  = 0x034
	CurrentTCB     = 0x038
	PlatformInfo   = 0x040
	Flags          = 0x048
	Reserved1      = 0x04c
	ReportData     = 0x050
	Measurement    = 0x090
	HostData       = 0x0c0
	IDKey          = 0x0e0
	AuthorKey      = 0x110
	ReportID       = 0x140
	MigrationID    = 0x160
	ReportedTCB    = 0x180
	CPUID          = 0x188
	Reserved2      = 0x18b
	ChipID         = 0x1a0
	CommittedTCB   = 0x1e0
	CurrentBuild   = 0x1e8
	CommittedBuild = 0x1ec
	LaunchTCB      = 0x1f0
	LaunchFixes    = 0x1f8
	Reserved3      = 0x208
	Signature      = 0x2a0
)

// DefaultPolicy is the guest policy that QEMU gives: SMT, and the bit that is
// always set.
const DefaultPolicy = 0x30000

// Report returns a sound report of version 3 from the machine, not signed yet.
func (m Machine) Report() []byte {
	b := make([]byte, snp.ReportSize)
	Put32(b, Version, 3)
	Put64(b, Policy, DefaultPolicy)
	Put32(b, SignatureAlgo, 1)
	Put32(b, Flags, uint32(m.Signer)<<2)
	Put64(b, PlatformInfo, 0x25)
	for i := range 32 {
		b[MigrationID+i] = 0xff
		b[HostData+i] = byte(i)
	}
	for i := range 48 {
		b[Measurement+i] = byte(0x80 + i)
	}
	for i := range 64 {
		b[ReportData+i] = byte(0x40 + i)
	}
	packed := m.Line.Pack(m.TCB)
	for _, at := range []int{CurrentTCB, ReportedTCB, CommittedTCB, LaunchTCB} {
		Put64(b, at, packed)
	}
	copy(b[CPUID:], map[snp.Line][]byte{snp.Milan: {0x19, 0x01, 1}, snp.Genoa: {0x19, 0x11, 1}, snp.Turin: {0x1a, 0x02, 1}}[m.Line])
	if m.Signer == snp.VCEK {
		copy(b[ChipID:], m.ChipID)
	}
	copy(b[CurrentBuild:], []byte{29, 55, 1, 0})
	copy(b[CommittedBuild:], []byte{29, 55, 1, 0})
	return b
}

// Sign signs a report with the machine's endorsement key, in place.
func (m Machine) Sign(b []byte) []byte {
	digest := sha512.Sum384(b[:Signature])
	r, s, err := ecdsa.Sign(rand.Reader, m.Key, digest[:])
	if err != nil {
		panic(err)
	}
	var big [48]byte
	for at, n := range map[int][]byte{0: r.FillBytes(big[:]), 72: s.FillBytes(make([]byte, 48))} {
		for i := range 48 {
			b[Signature+at+i] = n[47-i]
		}
	}
	return b
}

// Put32 and Put64 write a number into a report.
func Put32(b []byte, at int, n uint32) { binary.LittleEndian.PutUint32(b[at:], n) }

// Put64 writes a number of 64 bits.
func Put64(b []byte, at int, n uint64) { binary.LittleEndian.PutUint64(b[at:], n) }
