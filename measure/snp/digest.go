package snp

import (
	"crypto/sha512"
	"encoding/binary"

	"github.com/secretvm/secretvm/vm"
)

const (
	pageSize = 4096
	fourGiB  = 1 << 32
	// vmsaAddress is what KVM gives as the address of every VMSA page: the
	// highest page of 48 bits.
	vmsaAddress = 0xfffffffff000
)

// pageType is PAGE_TYPE of SNP_LAUNCH_UPDATE (56860, table 67).
type pageType byte

const (
	normalPage     pageType = 1
	vmsaPage       pageType = 2
	zeroPage       pageType = 3
	unmeasuredPage pageType = 4
	secretsPage    pageType = 5
	cpuidPage      pageType = 6
)

// digest is a launch digest in progress.
type digest vm.Register

// extend adds one page: SHA-384 over PAGE_INFO (56860, table 72), which holds
// the digest so far, the digest of the contents (zero for pages whose contents
// are not measured), the length 0x70, the type, four bytes of zero (not an
// initial migration image, no rights for other VMPLs) and the address.
func (d *digest) extend(kind pageType, address uint64, contents vm.Register) {
	var info [0x70]byte
	copy(info[0:], d[:])
	copy(info[48:], contents[:])
	binary.LittleEndian.PutUint16(info[96:], uint16(len(info)))
	info[98] = byte(kind)
	binary.LittleEndian.PutUint64(info[104:], address)
	*d = sha512.Sum384(info[:])
}

// contents adds whole pages with what they hold.
func (d *digest) contents(kind pageType, address uint64, pages []byte) {
	for off := 0; off < len(pages); off += pageSize {
		d.extend(kind, address+uint64(off), sha512.Sum384(pages[off:off+pageSize]))
	}
}

// blank adds size bytes of pages whose contents are not measured.
func (d *digest) blank(kind pageType, address, size uint64) {
	for off := uint64(0); off < size; off += pageSize {
		d.extend(kind, address+off, vm.Register{})
	}
}
