package image

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// The builder's own sources are its version: whatever changes them may change
// the image.
//
//go:embed *.go deb/*.go initramfs/*.go kernel/*.go tree/*.go verity/*.go
var builderSources embed.FS

// inputs digests everything that the image is made from: the builder, the
// specification, the locked packages (tools included), the guest's programs and
// what the engine's are made from: these are named in the specification.
func (b *build) inputs() (vm.Hash, error) {
	d := sha256.New()
	err := fs.WalkDir(builderSources, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := builderSources.ReadFile(name)
		add(d, []byte(name))
		add(d, text)
		return err
	})
	if err != nil {
		return vm.Hash{}, fmt.Errorf("digest builder: %w", err)
	}
	for _, name := range []string{lock.Guest, lock.Kernel, lock.Firmware, lock.Tools} {
		group, err := b.Source.Lock.Group(name)
		if err != nil {
			return vm.Hash{}, err
		}
		locked := lock.Digest(group)
		add(d, locked[:])
	}
	// The Go release is in it for its copies of compressors and formats.
	for _, part := range [][]byte{b.Source.SpecBytes, b.guestInit, b.guestd, []byte(runtime.Version())} {
		add(d, part)
	}
	for _, name := range slices.Sorted(maps.Keys(b.programs)) {
		add(d, []byte(name))
		add(d, b.programs[name])
	}
	if b.pins != nil { // behind a word, as below
		add(d, []byte(EngineModule))
		b.pins.digest(d)
	}
	if b.Firmware != nil {
		add(d, b.Firmware)
	}
	if b.Driver != nil { // behind a word, as below
		add(d, []byte(GPU))
		add(d, b.Driver)
	}
	if b.SNP != nil {
		add(d, []byte(vm.SNP))
		add(d, b.SNP)
	}
	if b.Kernel != nil { // behind a word, so that it is no firmware
		add(d, []byte(linux.File))
		add(d, b.Kernel)
		add(d, linux.Builtin())
	}
	var h vm.Hash
	d.Sum(h[:0])
	return h, nil
}

// add writes a part behind its length, so that no two lists of parts look alike.
func add(d hash.Hash, part []byte) {
	d.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
	d.Write(part)
}
