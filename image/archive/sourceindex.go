package archive

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// sourcesIndex is the index of a suite's source packages.
const sourcesIndex = "main/source/Sources"

// sourceIndex is every source package of the suites that were read, by name:
// the highest version of each.
type sourceIndex map[string]sourcePackage

type sourcePackage struct {
	version, archive string
	stanza           deb.Stanza
}

func wantsSources(groups map[string]Wanted) bool {
	for _, g := range groups {
		if len(g.Sources) > 0 {
			return true
		}
	}
	return false
}

// add reads a Sources file (deb-src-control(5), the archive's flavour).
func (x *sourceIndex) add(r io.Reader, s SuiteSpec) error {
	if *x == nil {
		*x = sourceIndex{}
	}
	return eachStanza(r, "Sources of "+s.Suite, func(stanza deb.Stanza) error {
		p := sourcePackage{version: stanza["version"], archive: s.Archive, stanza: stanza}
		if old, ok := (*x)[stanza["package"]]; !ok || CompareVersions(p.version, old.version) > 0 {
			(*x)[stanza["package"]] = p
		}
		return nil
	})
}

// resolve returns the tarballs of the named source packages. The .dsc is left
// out: its signature is not checked, and the index says what it would.
func (x sourceIndex) resolve(names []string) ([]lock.Package, error) {
	var out []lock.Package
	for _, name := range names {
		p, ok := x[name]
		if !ok {
			return nil, fmt.Errorf("no suite has the source package %s", name)
		}
		files, err := p.tarballs(name)
		if err != nil {
			return nil, fmt.Errorf("source package %s: %w", name, err)
		}
		out = append(out, files...)
	}
	return out, nil
}

// tarballs names each after its part of the package: edk2.orig, edk2.debian.
func (p sourcePackage) tarballs(name string) ([]lock.Package, error) {
	var out []lock.Package
	for line := range strings.Lines(p.stanza["checksums-sha256"]) {
		fields := strings.Fields(line)
		if len(fields) == 0 || (len(fields) == 3 && path.Ext(fields[2]) == ".dsc") {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("checksum line %q, want digest, size and name", line)
		}
		file := fields[2]
		base, ok := strings.CutSuffix(file, ".tar.xz")
		if !ok {
			return nil, fmt.Errorf("%s is no .tar.xz", file)
		}
		tarball := lock.Package{
			Name: name + path.Ext(base), Version: p.version, Arch: lock.SourceArch, Archive: p.archive,
			Path: p.stanza["directory"] + "/" + file,
		}
		var err error
		if tarball.SHA256, err = vm.ParseHash(fields[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if tarball.Size, err = strconv.ParseInt(fields[1], 10, 64); err != nil || tarball.Size <= 0 {
			return nil, fmt.Errorf("%s has the size %q", file, fields[1])
		}
		out = append(out, tarball)
	}
	if len(out) == 0 {
		return nil, errors.New("the index names no tarball of it")
	}
	return out, nil
}
