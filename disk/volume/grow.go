package volume

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, u64): the number of blocks.
const resizeFS = 0x40086610

// Fields of ext4's superblock, little-endian (Documentation/filesystems/ext4,
// "The Super Block").
const (
	superblockAt   = 1024
	superblockSize = 1024
	offBlocksLow   = 0x4   // u32
	offLogSize     = 0x18  // u32: block size is 2^(10+this)
	offFeatures    = 0x60  // u32: incompatible features
	offBlocksHigh  = 0x150 // u32, with the feature 64bit
	feature64bit   = 0x80
)

// Grow implements System: the kernel makes a mounted ext4 as large as its device.
func (Linux) Grow(path, target string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("grow file system: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, fmt.Errorf("grow file system: size of %s: %w", path, err)
	}
	super := make([]byte, superblockSize)
	if _, err := f.ReadAt(super, superblockAt); err != nil {
		return false, fmt.Errorf("grow file system: superblock of %s: %w", path, err)
	}
	have, blockSize := extent(super)
	want := uint64(size) / blockSize
	if want <= have {
		return false, nil
	}
	root, err := os.Open(target)
	if err != nil {
		return false, fmt.Errorf("grow file system: %w", err)
	}
	defer root.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, root.Fd(), resizeFS, uintptr(unsafe.Pointer(&want))); errno != 0 {
		return false, fmt.Errorf("grow file system from %d to %d blocks of %d bytes: %w", have, want, blockSize, errno)
	}
	return true, nil
}

// extent reads from a superblock that the kernel has mounted how many blocks of
// how many bytes the file system has.
func extent(super []byte) (blocks, blockSize uint64) {
	u32 := func(off int) uint64 { return uint64(binary.LittleEndian.Uint32(super[off:])) }
	blocks = u32(offBlocksLow)
	if u32(offFeatures)&feature64bit != 0 {
		blocks |= u32(offBlocksHigh) << 32
	}
	return blocks, 1 << (10 + u32(offLogSize)&0xf)
}
