// Package lock holds the lock file of an image: the exact Debian packages,
// named by SHA-256, that the guest, its kernel and firmware, and the tools that
// build and run it are made from. It only describes; package archive makes
// locks and package pool fetches what they name.
package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// The groups that an image's lock has.
const (
	Guest    = "guest"    // the root file system
	Kernel   = "kernel"   // vmlinuz and modules
	Firmware = "firmware" // OVMF
	Tools    = "tools"    // mkfs.erofs, QEMU and their libraries, run on the host
	Example  = "example"  // what the example's OCI images are made from
)

// The groups that the locks of our own firmware, our own kernel and NVIDIA's driver have.
const (
	Source            = "source"             // as Debian has it: edk2's tarballs, linux-source, NVIDIA's packages
	FirmwareToolchain = "firmware-toolchain" // what builds the one, in a root of its own
	KernelToolchain   = "kernel-toolchain"   // what builds the other
	DriverToolchain   = "driver-toolchain"   // what builds the driver's modules
)

// SourceArch is the architecture of a tarball of a source package.
const SourceArch = "source"

// MaxSize bounds an encoded lock, in bytes.
const MaxSize = 4 << 20

// Lock is a lock file: version 1, the suites it was made from, and its groups.
type Lock struct {
	Version int                  `json:"version"` // 1
	Suites  []Suite              `json:"suites"`
	Groups  map[string][]Package `json:"groups"` // each sorted by name
}

// Suite records which state of a suite the lock was made from.
type Suite struct {
	Archive string  `json:"archive"`
	Name    string  `json:"suite"`
	Date    string  `json:"date"`    // the Release file's Date, RFC 3339, UTC
	Release vm.Hash `json:"release"` // SHA-256 of InRelease
}

// Package is one .deb file, or one tarball of a source package.
type Package struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Arch    string  `json:"arch"`
	Archive string  `json:"archive"` // debian or debian-security
	Path    string  `json:"path"`    // below the archive's URL
	Size    int64   `json:"size"`
	SHA256  vm.Hash `json:"sha256"`
}

// ID is name_version_arch, as file names have it but with the epoch.
func (p Package) ID() string { return p.Name + "_" + p.Version + "_" + p.Arch }

// Parse reads a lock; unknown fields, duplicates and paths that leave the
// archive are errors.
func Parse(b []byte) (Lock, error) {
	var l Lock
	if len(b) > MaxSize {
		return l, fmt.Errorf("lock file has %d bytes, want at most %d", len(b), MaxSize)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return l, fmt.Errorf("decode lock file: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return l, errors.New("decode lock file: trailing bytes after the document")
	}
	return l, l.Validate()
}

// Encode returns the lock as indented JSON with a final newline; equal locks
// have equal bytes.
func (l Lock) Encode() ([]byte, error) {
	for _, group := range l.Groups {
		slices.SortFunc(group, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(l); err != nil {
		return nil, fmt.Errorf("encode lock file: %w", err)
	}
	return buf.Bytes(), nil
}

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{0,127}$`)
	versionPattern = regexp.MustCompile(`^[A-Za-z0-9.+:~-]{1,128}$`)
	pathPattern    = regexp.MustCompile(`^pool/[A-Za-z0-9+._~/-]+\.(deb|tar\.xz)$`)
)

// Validate reports the first package that cannot be meant.
func (l Lock) Validate() error {
	if l.Version != 1 {
		return fmt.Errorf("lock file: version is %d, want 1", l.Version)
	}
	for _, group := range slices.Sorted(maps.Keys(l.Groups)) {
		last := ""
		for _, p := range l.Groups[group] {
			switch {
			case !namePattern.MatchString(p.Name) || !versionPattern.MatchString(p.Version) || !namePattern.MatchString(p.Arch):
				return fmt.Errorf("lock file: group %s: %q is not a package, version and architecture", group, p.ID())
			case p.Name <= last:
				return fmt.Errorf("lock file: group %s: %q is not in order after %q", group, p.Name, last)
			case !namePattern.MatchString(p.Archive):
				return fmt.Errorf("lock file: group %s: %s names the archive %q", group, p.Name, p.Archive)
			case !pathPattern.MatchString(p.Path) || strings.Contains(p.Path, ".."):
				return fmt.Errorf("lock file: group %s: %s has the path %q, want pool/….deb or pool/….tar.xz", group, p.Name, p.Path)
			case p.Size <= 0 || p.SHA256.IsZero():
				return fmt.Errorf("lock file: group %s: %s lacks its size or SHA-256", group, p.Name)
			}
			last = p.Name
		}
	}
	return nil
}

// Group returns the packages of the named groups, in the order of the lock,
// each package once. A group that the lock does not have is an error.
func (l Lock) Group(names ...string) ([]Package, error) {
	var out []Package
	seen := map[vm.Hash]bool{}
	for _, name := range names {
		group, ok := l.Groups[name]
		if !ok {
			return nil, fmt.Errorf("lock file has no group %q; refresh it with `secretvm image lock`", name)
		}
		for _, p := range group {
			if !seen[p.SHA256] {
				out = append(out, p)
				seen[p.SHA256] = true
			}
		}
	}
	return out, nil
}

// Digest is one value for the content of packages in order: it names caches of
// what was unpacked from them.
func Digest(packages []Package) vm.Hash {
	var b []byte
	for _, p := range packages {
		b = append(b, p.SHA256[:]...)
	}
	return vm.HashOf(b)
}
