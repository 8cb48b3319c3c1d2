// Package ovmf reads the tables that an OVMF image carries at its end: the
// GUIDed table and, through it, the TDVF metadata that tells a VMM where each
// part of the image goes and what is measured (Intel TDX Virtual Firmware
// Design Guide, chapter 11; edk2 OvmfPkg/ResetVector).
//
// A launch digest is only as good as this parse: whatever is out of bounds,
// misaligned, overlapping or unknown is refused.
package ovmf
