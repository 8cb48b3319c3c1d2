package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// SpecName is the file beside a compose file that describes its images.
const SpecName = "images.yaml"

// Host is the registry that compose files name for these images. Docker takes
// an address of the loopback interface without TLS.
const Host = "localhost:5000"

// Spec describes the images of one folder.
type Spec struct {
	Images []ImageSpec `yaml:"images"`
}

// ImageSpec describes one image. Exactly one of Repository and Names is given,
// and exactly one of Go and Files.
type ImageSpec struct {
	Repository string            `yaml:"repository"` // below Host
	Names      []string          `yaml:"names"`      // of other registries, which it stands in for, as the compose file has them
	Go         string            `yaml:"go"`         // folder of a package main, relative to the description and in its module; becomes /<name of the folder>
	Group      string            `yaml:"group"`      // group of the lock file that Files are taken from
	Files      []string          `yaml:"files"`      // programs; the libraries that they need come along
	Text       map[string]string `yaml:"text"`       // further files, path: content
	Links      map[string]string `yaml:"links"`      // symbolic links, path: target
	Folders    []string          `yaml:"folders"`    // empty folders that belong to User
	User       int               `yaml:"user"`       // uid and gid that the image runs as; not 0
	Entrypoint []string          `yaml:"entrypoint"`
	Command    []string          `yaml:"command"`
	Expose     []string          `yaml:"expose"` // such as 8080/tcp
	Volumes    []string          `yaml:"volumes"`
}

// ReadSpec reads the description in folder. Without one it returns nil.
func ReadSpec(folder string) (*Spec, []byte, error) {
	raw, err := os.ReadFile(filepath.Join(folder, SpecName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read image description: %w", err)
	}
	s, err := ParseSpec(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Join(folder, SpecName), err)
	}
	return s, raw, nil
}

// ParseSpec reads a description; unknown fields are errors.
func ParseSpec(raw []byte) (*Spec, error) {
	var s Spec
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("parse image description: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse image description: more than one document")
	}
	seen := map[string]bool{}
	for _, i := range s.Images {
		if err := i.validate(); err != nil {
			return nil, fmt.Errorf("image %q: %w", i.title(), err)
		}
		for _, name := range append(i.Names, i.Repository) {
			if seen[name] && name != "" {
				return nil, fmt.Errorf("image %q is described twice", name)
			}
			seen[name] = true
		}
	}
	if len(s.Images) == 0 {
		return nil, errors.New("image description has no images")
	}
	return &s, nil
}

var repositoryPattern = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*$`)

func (i ImageSpec) validate() error {
	for _, name := range i.Names {
		if _, err := repositoryOf(name); err != nil {
			return err
		}
	}
	switch {
	case (i.Repository == "") == (len(i.Names) == 0):
		return errors.New("want either repository or names")
	case i.Repository != "" && !repositoryPattern.MatchString(i.Repository):
		return errors.New("repository is not a lower-case path")
	case (i.Go == "") == (len(i.Files) == 0):
		return errors.New("want either go or files")
	case path.IsAbs(i.Go):
		return fmt.Errorf("go is %q, want a folder relative to the description", i.Go)
	case len(i.Files) > 0 && i.Group == "":
		return errors.New("files need the group of the lock file that they come from")
	case i.User <= 0 || i.User > 65535:
		return fmt.Errorf("user is %d, want 1 to 65535: containers do not run as root", i.User)
	case len(i.Entrypoint) == 0:
		return errors.New("entrypoint is missing")
	}
	for _, name := range append(append([]string{}, i.Files...), i.Folders...) {
		if !cleanPath(name) {
			return fmt.Errorf("path %q is not clean and relative to the root", name)
		}
	}
	for name, target := range i.Links {
		if !cleanPath(name) || target == "" {
			return fmt.Errorf("link %q to %q: want a clean path relative to the root, and a target", name, target)
		}
	}
	for name := range i.Text {
		if !cleanPath(name) {
			return fmt.Errorf("path %q is not clean and relative to the root", name)
		}
	}
	return nil
}

// title is what errors and progress call the image.
func (i ImageSpec) title() string {
	if i.Repository == "" && len(i.Names) > 0 {
		return i.Names[0]
	}
	return i.Repository
}

// repositoryOf is where Host has an image of another registry.
func repositoryOf(name string) (string, error) {
	reference, err := compose.PinnedImage(name, vm.Pins{name: {}})
	if err != nil {
		return "", err
	}
	repository, _, _ := strings.Cut(strings.TrimPrefix(compose.MirrorOf(Host, reference), Host+"/"), "@")
	if !repositoryPattern.MatchString(repository) {
		return "", fmt.Errorf("%q is not the name of an image", name)
	}
	return repository, nil
}

func cleanPath(name string) bool {
	return name != "." && path.Clean(name) == name && filepath.IsLocal(name)
}
