// Package verity sets up dm-verity over the root file system of an image: its
// description comes from the measured kernel command line, its bytes from a
// disk that the host serves.
//
// Layout of the disk: the file system in blocks of 4096 bytes, directly after
// it the SHA-256 hash tree, top level first, without a superblock
// (Documentation/admin-guide/device-mapper/verity.rst in Linux, version 1).
package verity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/disk/devmapper"
	"github.com/secretvm/secretvm/vm"
)

// BlockSize is the size of data and hash blocks, in bytes.
const BlockSize = 4096

const (
	hashesPerBlock   = BlockSize / sha256.Size
	sectorsPerBlock  = BlockSize / 512
	maxDataBlocks    = 1 << 32 // 16 TiB
	commandLineSpace = "secretvm."
)

// The device as device mapper lists it.
const (
	deviceName = "root"
	deviceUUID = "SECRETVM-VERITY-root"
)

// ParseCommandLine reads the description of the root file system from a kernel
// command line: secretvm.verity (root hash) and secretvm.salt, 64 lower-case
// hex digits each, and secretvm.blocks (data blocks, decimal). Each must stand
// there exactly once, and no other parameter may begin with "secretvm.".
func ParseCommandLine(line string) (vm.Verity, error) {
	values := map[string]string{}
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, "=")
		name, ours := strings.CutPrefix(name, commandLineSpace)
		if !ours {
			continue
		}
		if field == vm.DevArgument { // stage 1 asks vm.IsDev
			continue
		}
		if name != "verity" && name != "salt" && name != "blocks" {
			return vm.Verity{}, fmt.Errorf("kernel command line: unknown parameter secretvm.%s", name)
		}
		if _, twice := values[name]; twice {
			return vm.Verity{}, fmt.Errorf("kernel command line: secretvm.%s stands there twice", name)
		}
		values[name] = value
	}
	var v vm.Verity
	var err error
	if v.RootHash, err = vm.ParseHash(values["verity"]); err != nil {
		return vm.Verity{}, fmt.Errorf("kernel command line: secretvm.verity: %w", err)
	}
	if v.Salt, err = vm.ParseHash(values["salt"]); err != nil {
		return vm.Verity{}, fmt.Errorf("kernel command line: secretvm.salt: %w", err)
	}
	blocks, err := strconv.ParseInt(values["blocks"], 10, 64)
	if err != nil || strconv.FormatInt(blocks, 10) != values["blocks"] {
		return vm.Verity{}, fmt.Errorf("kernel command line: secretvm.blocks is %q, want a decimal number", values["blocks"])
	}
	v.DataBlocks = blocks
	return v, validate(v)
}

func validate(v vm.Verity) error {
	switch {
	case v.RootHash.IsZero():
		return errors.New("dm-verity: root hash is zero")
	case v.DataBlocks < 2 || v.DataBlocks > maxDataBlocks: // one block alone has no tree
		return fmt.Errorf("dm-verity: %d data blocks, want 2 to %d", v.DataBlocks, int64(maxDataBlocks))
	}
	return nil
}

// TreeBlocks returns the number of blocks of the hash tree over dataBlocks.
func TreeBlocks(dataBlocks int64) int64 {
	var tree int64
	for level := dataBlocks; level > 1; {
		level = (level + hashesPerBlock - 1) / hashesPerBlock
		tree += level
	}
	return tree
}

// Check reports whether disk, of size bytes, is long enough and its hash tree
// begins with the block that v's root hash stands for. It makes a wrong disk a
// readable error; the kernel verifies that block and all others on its own.
func Check(disk io.ReaderAt, size int64, v vm.Verity) error {
	if err := validate(v); err != nil {
		return err
	}
	if want := (v.DataBlocks + TreeBlocks(v.DataBlocks)) * BlockSize; size < want {
		return fmt.Errorf("root file system's disk has %d bytes, want at least %d", size, want)
	}
	block := make([]byte, BlockSize)
	if _, err := disk.ReadAt(block, v.DataBlocks*BlockSize); err != nil {
		return fmt.Errorf("read top of the root file system's hash tree: %w", err)
	}
	found := vm.HashOf(append(v.Salt[:], block...))
	if found != v.RootHash {
		return vm.Refuse(vm.CodeImage, "the rootfs disk does not belong to the measured command line").
			On("dm-verity root hash", found.String(), v.RootHash.String())
	}
	return nil
}

// Open makes the verified read-only block device of the disk at path and
// returns its own path. Every block is checked at every read: the host may
// answer differently each time.
func Open(path string, v vm.Verity) (string, error) {
	if err := validate(v); err != nil {
		return "", err
	}
	device, err := devmapper.Create(deviceName, deviceUUID, true, table(path, v))
	if err != nil {
		return "", fmt.Errorf("set up dm-verity over %s: %w", path, err)
	}
	return device, nil
}

// table is the verity target's line.
//
// A block that does not verify, and a read error, end the machine by a kernel
// panic. The default, an I/O error for the one reader, would let the host
// choose which programs and files of the system fail, and restart_on_corruption
// leaves other processors running user code while the restart is under way.
// The panic's message reaches the console whatever its log level.
func table(path string, v vm.Verity) devmapper.Target {
	return devmapper.Target{
		Type:    "verity",
		Sectors: uint64(v.DataBlocks) * sectorsPerBlock,
		Params: fmt.Appendf(nil, "1 %s %s %d %d %d %d sha256 %s %s 2 panic_on_corruption panic_on_error",
			path, path, BlockSize, BlockSize, v.DataBlocks, v.DataBlocks, v.RootHash, v.Salt),
	}
}
