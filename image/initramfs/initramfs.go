// Package initramfs writes the kernel's first file system: a cpio archive in the
// "newc" format (Linux Documentation/driver-api/early-userspace/buffer-format.rst),
// compressed with zstd, whose bytes depend on its content alone.
package initramfs

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

// Name is the file name of a compressed initramfs.
const Name = "initramfs.cpio.zst"

// File is one file of the archive, below the root.
type File struct {
	Mode    uint64 // permission bits
	Content []byte
}

// Build returns the archive of files (by clean relative path) and empty
// folders, uncompressed.
func Build(files map[string]File, folders []string, epoch uint64) ([]byte, error) {
	records := map[string]cpio.Record{}
	addFolder := func(name string) {
		for ; name != "."; name = path.Dir(name) {
			records[name] = cpio.Directory(name, 0o755)
		}
	}
	for _, name := range folders {
		addFolder(name)
	}
	for name, f := range files {
		addFolder(path.Dir(name))
		records[name] = cpio.StaticFile(name, string(f.Content), f.Mode)
	}
	var buf bytes.Buffer
	w := cpio.Newc.Writer(&buf)
	for i, name := range slices.Sorted(maps.Keys(records)) {
		r := records[name]
		r.Ino, r.MTime, r.NLink, r.UID, r.GID = uint64(i+1), epoch, 1, 0, 0
		if err := w.WriteRecord(r); err != nil {
			return nil, fmt.Errorf("write initramfs: %s: %w", name, err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, fmt.Errorf("write initramfs: %w", err)
	}
	return buf.Bytes(), nil
}

// Compress returns b as one zstd frame. One goroutine and a fixed level make
// the result depend on b and the library's version only.
func Compress(b []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return nil, fmt.Errorf("compress initramfs: %w", err)
	}
	return w.EncodeAll(b, nil), w.Close()
}
