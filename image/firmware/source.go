package firmware

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// Spec is firmware.yaml: what the firmware is built from and with.
type Spec struct {
	Suites []archive.SuiteSpec       `yaml:"suites"`
	Groups map[string]archive.Wanted `yaml:"groups"`
}

// The names of a source package's tarballs in the lock: edk2.orig, edk2.debian.
const (
	origTarball   = "edk2.orig"
	debianTarball = "edk2.debian"
)

//go:embed firmware.lock.json
var locked []byte

// ParseSpec reads a specification; unknown fields are errors.
func ParseSpec(b []byte) (Spec, error) {
	var s Spec
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("parse firmware specification: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return s, errors.New("parse firmware specification: more than one document")
	}
	if len(s.Groups[lock.Source].Sources) == 0 || len(s.Groups[lock.FirmwareToolchain].Packages) == 0 {
		return s, fmt.Errorf("firmware specification: group %s or %s is empty", lock.Source, lock.FirmwareToolchain)
	}
	return s, nil
}

// Lock returns the lock that this program was built with: groups lock.Source and
// lock.FirmwareToolchain.
func Lock() (lock.Lock, error) { return lock.Parse(locked) }

// tarball finds one of the source package's tarballs.
func tarball(sources []lock.Package, name string) (lock.Package, error) {
	for _, p := range sources {
		if p.Name == name {
			return p, nil
		}
	}
	return lock.Package{}, fmt.Errorf("lock file has no %s; refresh it with `secretvm image firmware lock`", name)
}

// key digests all that the bytes of a platform's image depend on: the locked
// source and tools, the descriptions, the patches and the script.
func (p Platform) key(l lock.Lock) (vm.Hash, error) {
	d := sha256.New()
	add := func(part []byte) {
		d.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		d.Write(part)
	}
	add([]byte(p.name))
	for _, name := range []string{lock.Source, lock.FirmwareToolchain} {
		group, err := l.Group(name)
		if err != nil {
			return vm.Hash{}, err
		}
		digest := lock.Digest(group)
		add(digest[:])
	}
	err := fs.WalkDir(inputs, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := inputs.ReadFile(name)
		add([]byte(name))
		add(text)
		return err
	})
	if err != nil {
		return vm.Hash{}, fmt.Errorf("digest firmware's inputs: %w", err)
	}
	var h vm.Hash
	d.Sum(h[:0])
	return h, nil
}
