package oci

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// nameAnnotation holds the repository of an image in the layout's index.
const nameAnnotation = "org.opencontainers.image.ref.name"

// standsInAnnotation holds the name that a compose file has for the image.
const standsInAnnotation = "org.secretvm.image.name"

// annotations are those of the image's entries in the layout's index, one for
// each name.
func (i ImageSpec) annotations() (all []map[string]string) {
	if i.Repository != "" {
		return []map[string]string{{nameAnnotation: i.Repository}}
	}
	for _, name := range i.Names {
		repository, _ := repositoryOf(name) // validated
		all = append(all, map[string]string{nameAnnotation: repository, standsInAnnotation: name})
	}
	return all
}

// Store is a folder with built images.
type Store struct {
	Dir    string // an OCI image layout
	Images []Built
	Cached bool // nothing had to be built
}

// Built is one image of a Store.
type Built struct {
	Repository string `json:"repository"`
	Name       string `json:"name,omitempty"` // as the compose file has it, if it stands in for an image of another registry
	Digest     string `json:"digest"`         // sha256:… of the manifest
	Size       int64  `json:"size"`           // of manifest, configuration and layers, in bytes
}

// Reference is the name by which a compose file pins the image.
func (b Built) Reference() string { return Host + "/" + b.Repository + "@" + b.Digest }

// Open reads the index of a layout.
func Open(dir string) (*Store, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("open image layout: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("open image layout: %w", err)
	}
	s := &Store{Dir: dir}
	for _, d := range manifest.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("open image layout: %w", err)
		}
		m, err := image.Manifest()
		if err != nil {
			return nil, fmt.Errorf("open image layout: %w", err)
		}
		size := d.Size + m.Config.Size
		for _, l := range m.Layers {
			size += l.Size
		}
		s.Images = append(s.Images, Built{Repository: d.Annotations[nameAnnotation], Name: d.Annotations[standsInAnnotation], Digest: d.Digest.String(), Size: size})
	}
	return s, nil
}

// Check reports the first service that wants an image of Host which is not in
// the store, or whose image the store stands in for under another digest than
// pins has.
func (s *Store) Check(services []compose.Service, pins vm.Pins) error {
	for _, service := range services {
		for _, b := range s.Images {
			if b.Name != "" && b.Name == service.Image && "sha256:"+pins[b.Name].String() != b.Digest {
				return fmt.Errorf("service %s: image %s: %s describes %s: put the digest into %s with `secretvm oci build --update`", service.Name, service.Image, SpecName, b.Digest, compose.PinsName)
			}
		}
		name, local := strings.CutPrefix(service.Image, Host+"/")
		if !local {
			continue
		}
		repository, digest, _ := strings.Cut(name, "@")
		if err := s.has(repository, digest); err != nil {
			return fmt.Errorf("service %s: image %s: %w", service.Name, service.Image, err)
		}
	}
	return nil
}

func (s *Store) has(repository, digest string) error {
	for _, b := range s.Images {
		if b.Repository == repository {
			if b.Digest != digest {
				return fmt.Errorf("%s describes %s: put the new digest into the compose file with `secretvm oci build --update`", SpecName, b.Digest)
			}
			return nil
		}
	}
	return fmt.Errorf("%s does not describe it", SpecName)
}

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// Pin puts the digests of the store's images into a compose file and leaves
// every other byte as it is.
func (s *Store) Pin(composeFile []byte) []byte {
	for _, b := range s.Images {
		if b.Name != "" {
			continue
		}
		name := []byte(Host + "/" + b.Repository + "@")
		parts := bytes.Split(composeFile, name)
		for i := 1; i < len(parts); i++ {
			if at := digestPattern.FindIndex(parts[i]); at != nil && at[0] == 0 {
				parts[i] = append([]byte(b.Digest), parts[i][at[1]:]...)
			}
		}
		composeFile = bytes.Join(parts, name)
	}
	return composeFile
}

// PinFile is Pin on a file; it reports whether the file changed.
func (s *Store) PinFile(path string) (bool, error) {
	before, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("pin images: %w", err)
	}
	after := s.Pin(before)
	if bytes.Equal(before, after) {
		return false, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("pin images: %w", err)
	}
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(temporary, after, info.Mode().Perm()); err != nil {
		return false, fmt.Errorf("pin images: %w", err)
	}
	return true, os.Rename(temporary, path)
}

// Pins are the digests of the images that stand in for others.
func (s *Store) Pins() (vm.Pins, error) {
	pins := vm.Pins{}
	for _, b := range s.Images {
		h, err := vm.ParseHash(strings.TrimPrefix(b.Digest, "sha256:"))
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", b.Repository, err)
		}
		if b.Name != "" {
			pins[b.Name] = h
		}
	}
	return pins, nil
}
