// Package verity makes the dm-verity hash tree of an image: format 1, SHA-256,
// data and hash blocks of 4096 bytes, no superblock (Linux
// Documentation/admin-guide/device-mapper/verity.rst). It is the kernel's and
// veritysetup's format: `veritysetup verify --no-superblock` agrees with it.
package verity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/secretvm/secretvm/vm"
)

// BlockSize is the size of data and hash blocks, in bytes.
const BlockSize = 4096

// MaxBlocks bounds the data of one image: 64 GiB.
const MaxBlocks = 16 << 20

// Tree is the hash tree of some data. Bytes is what follows the data on the
// device: the levels from the top, which is one block, down to the digests of
// the data blocks, each level zero-padded to whole blocks.
type Tree struct {
	Root       vm.Hash
	DataBlocks int64
	Bytes      []byte
}

// Build reads data to its end, which must be a whole number of blocks, and
// returns its tree.
func Build(data io.Reader, salt vm.Hash) (Tree, error) {
	level, err := hashBlocks(data, salt)
	if err != nil {
		return Tree{}, err
	}
	t := Tree{DataBlocks: int64(len(level) / sha256.Size)}
	if t.DataBlocks == 0 {
		return t, errors.New("make verity tree: there is no data")
	}
	if t.DataBlocks == 1 { // no level at all: the root hash is that of the block
		copy(t.Root[:], level)
		return t, nil
	}
	var levels [][]byte // from the data up
	for {
		level = pad(level)
		levels = append(levels, level)
		if len(level) == BlockSize {
			break
		}
		if level, err = hashBlocks(bytes.NewReader(level), salt); err != nil {
			return t, err
		}
	}
	t.Root = hashBlock(level, salt)
	for i := len(levels) - 1; i >= 0; i-- {
		t.Bytes = append(t.Bytes, levels[i]...)
	}
	return t, nil
}

// Check reads data followed by its tree, as they stand on the device, and
// reports the first difference from v.
func Check(device io.Reader, v vm.Verity) error {
	if v.DataBlocks <= 0 || v.DataBlocks > MaxBlocks {
		return fmt.Errorf("verity: %d data blocks, want 1 to %d", v.DataBlocks, MaxBlocks)
	}
	data := io.LimitReader(device, v.DataBlocks*BlockSize)
	t, err := Build(data, v.Salt)
	if err != nil {
		return err
	}
	if t.DataBlocks != v.DataBlocks {
		return fmt.Errorf("verity: device has %d data blocks, want %d", t.DataBlocks, v.DataBlocks)
	}
	if t.Root != v.RootHash {
		return fmt.Errorf("verity: root hash is %s, want %s", t.Root, v.RootHash)
	}
	found, err := io.ReadAll(io.LimitReader(device, int64(len(t.Bytes))+1))
	if err != nil {
		return fmt.Errorf("verity: read hash tree: %w", err)
	}
	if !bytes.Equal(found, t.Bytes) {
		return errors.New("verity: the hash tree is not that of the data, or something follows it")
	}
	return nil
}

// hashBlocks returns the digests of r's blocks, one behind the other.
func hashBlocks(r io.Reader, salt vm.Hash) ([]byte, error) {
	var out []byte
	block := make([]byte, BlockSize)
	for n := 0; ; n++ {
		_, err := io.ReadFull(r, block)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("make verity tree: data ends inside of block %d", n)
		case err != nil:
			return nil, fmt.Errorf("make verity tree: read block %d: %w", n, err)
		case n == MaxBlocks:
			return nil, fmt.Errorf("make verity tree: more than %d blocks", MaxBlocks)
		}
		digest := hashBlock(block, salt)
		out = append(out, digest[:]...)
	}
}

// hashBlock is SHA-256(salt ‖ block), the order of hash format 1.
func hashBlock(block []byte, salt vm.Hash) (h vm.Hash) {
	d := sha256.New()
	d.Write(salt[:])
	d.Write(block)
	d.Sum(h[:0])
	return h
}

func pad(level []byte) []byte {
	return append(level, make([]byte, (BlockSize-len(level)%BlockSize)%BlockSize)...)
}
