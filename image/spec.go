package image

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/lock"
)

//go:embed specs
var specFiles embed.FS

// Base is the name of the image that this repository specifies.
const Base = "base"

// Dev is the name of what images for development have beside Base.
const Dev = "dev"

// Spec is a file like specs/base.yaml: what an image is made of. One with a Base
// is what an image has beside that.
type Spec struct {
	Base        string                    `yaml:"base"`
	Name        string                    `yaml:"name"`
	Release     string                    `yaml:"release"`
	Epoch       int64                     `yaml:"epoch"` // mtime of every file, seconds since 1970
	Suites      []archive.SuiteSpec       `yaml:"suites"`
	Groups      map[string]archive.Wanted `yaml:"groups"`
	CommandLine string                    `yaml:"command_line"`
	Initramfs   struct {
		Modules []string `yaml:"modules"`
	} `yaml:"initramfs"`
	Rootfs RootfsSpec  `yaml:"rootfs"`
	Driver *DriverSpec `yaml:"driver"` // of GPUs; nil: there are none

	dev bool // for development
}

// RootfsSpec says what becomes of the guest group's files.
type RootfsSpec struct {
	Modules []string          `yaml:"modules"` // kernel modules, by name
	Drop    []string          `yaml:"drop"`    // path.Match patterns; with a final slash: a folder and all below
	Folders []string          `yaml:"folders"`
	Links   map[string]string `yaml:"links"` // path: target
	Files   map[string]string `yaml:"files"` // path: content

	Programs map[string]string `yaml:"programs"` // path: command of this source tree
	Engine   map[string]string `yaml:"engine"`   // path: command of a module that EngineModule pins
}

// Source is a Spec and its Lock with the bytes they were read from.
type Source struct {
	Spec      Spec
	Lock      lock.Lock
	SpecBytes []byte
	LockBytes []byte
}

// BaseSource returns the specification and the lock of Base that this program
// was built with.
func BaseSource() (Source, error) {
	spec, err := specFiles.ReadFile("specs/" + Base + ".yaml")
	if err != nil {
		return Source{}, fmt.Errorf("read image specification: %w", err)
	}
	locked, err := specFiles.ReadFile("specs/" + Base + ".lock.json")
	if errors.Is(err, fs.ErrNotExist) {
		return Source{}, fmt.Errorf("image %s has no lock file: make it with `secretvm image lock`", Base)
	}
	if err != nil {
		return Source{}, fmt.Errorf("read lock file: %w", err)
	}
	return ParseSource(spec, locked)
}

// BaseLock returns the lock of Base: the tools and packages that other parts use.
func BaseLock() (lock.Lock, error) {
	s, err := BaseSource()
	return s.Lock, err
}

// BaseSpec returns the specification of Base alone, which needs no lock yet.
func BaseSpec() (Spec, error) {
	b, err := specFiles.ReadFile("specs/" + Base + ".yaml")
	if err != nil {
		return Spec{}, fmt.Errorf("read image specification: %w", err)
	}
	return ParseSpec(b)
}

// ParseSource reads a specification and its lock.
func ParseSource(spec, locked []byte) (s Source, err error) {
	s.SpecBytes, s.LockBytes = spec, locked
	if s.Spec, err = ParseSpec(spec); err != nil {
		return s, err
	}
	s.Lock, err = lock.Parse(locked)
	return s, err
}

// ParseSpec reads a specification; unknown fields are errors.
func ParseSpec(b []byte) (Spec, error) {
	var s Spec
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("parse image specification: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return s, errors.New("parse image specification: more than one document")
	}
	return s, s.validate()
}

func (s Spec) validate() error {
	if s.Base != "" {
		if s.Base != Base || s.Epoch != 0 || s.CommandLine != "" || len(s.Initramfs.Modules)+len(s.Rootfs.Modules)+len(s.Rootfs.Drop) > 0 {
			return fmt.Errorf("image specification: what is added to %s is packages, folders, links, files and programs", Base)
		}
		return nil
	}
	switch {
	case s.Name == "" || strings.ContainsAny(s.Name, "/ "):
		return fmt.Errorf("image specification: name is %q", s.Name)
	case s.Epoch <= 0:
		return errors.New("image specification: epoch is missing")
	case s.CommandLine == "" || strings.Contains(s.CommandLine, "secretvm."):
		return errors.New("image specification: command_line is missing, or sets secretvm.*, which is the builder's")
	}
	for _, group := range []string{lock.Guest, lock.Kernel, lock.Firmware, lock.Tools} {
		if len(s.Groups[group].Packages) == 0 {
			return fmt.Errorf("image specification: group %s has no packages", group)
		}
	}
	return nil
}

// drops reports whether a package's file is left out of the root file system.
func (s RootfsSpec) drops(file string) bool {
	for _, pattern := range s.Drop {
		if folder, ok := strings.CutSuffix(pattern, "/"); ok {
			if file == folder || strings.HasPrefix(file, pattern) {
				return true
			}
		} else if ok, _ := path.Match(pattern, file); ok {
			return true
		}
	}
	return false
}
