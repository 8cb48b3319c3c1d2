package tdx

import (
	"crypto/sha512"
	"encoding/binary"
	"hash"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// Order is the order in which a host adds and measures pages. It is a property
// of the host's kernel interface, not of the firmware.
type Order int

const (
	// SinglePass adds a page and extends its contents before the next page:
	// upstream KVM_TDX_INIT_MEM_REGION, QEMU 9 and later.
	SinglePass Order = iota
	// TwoPass adds all pages of a section, then extends them all: vendor
	// kernels with QEMU 8 (KVM_TDX_EXTEND_MEMORY).
	TwoPass
)

const (
	pageSize  = 4096
	chunkSize = 256
)

// MRTD predicts the launch measurement: SHA-384 over the buffers that
// TDH.MEM.PAGE.ADD and TDH.MR.EXTEND contribute (Intel TDX Module Base
// Architecture Specification, 12.2.1), in the order of the metadata.
func MRTD(image *ovmf.Image, order Order) vm.Register {
	h := sha512.New384()
	for _, s := range image.Sections {
		if s.Attributes&ovmf.PageAug != 0 {
			continue
		}
		contents, measured := image.Contents(s), s.Attributes&ovmf.MRExtend != 0
		for off := uint64(0); off < s.Size; off += pageSize {
			addPage(h, s.Address+off)
			if measured && order == SinglePass {
				extendPage(h, s.Address+off, contents[off:])
			}
		}
		for off := uint64(0); measured && order == TwoPass && off < s.Size; off += pageSize {
			extendPage(h, s.Address+off, contents[off:])
		}
	}
	return vm.Register(h.Sum(nil))
}

// addPage is the 128-byte buffer of TDH.MEM.PAGE.ADD: name, zeros to 16, guest
// physical address, zeros. The contents of the page are not in it.
func addPage(h hash.Hash, gpa uint64) {
	var buf [128]byte
	copy(buf[:], "MEM.PAGE.ADD")
	binary.LittleEndian.PutUint64(buf[16:], gpa)
	h.Write(buf[:])
}

// extendPage is sixteen times TDH.MR.EXTEND: a 128-byte buffer as above, then
// 256 bytes of contents.
func extendPage(h hash.Hash, gpa uint64, page []byte) {
	for off := 0; off < pageSize; off += chunkSize {
		var buf [128]byte
		copy(buf[:], "MR.EXTEND")
		binary.LittleEndian.PutUint64(buf[16:], gpa+uint64(off))
		h.Write(buf[:])
		h.Write(page[off:][:chunkSize])
	}
}
