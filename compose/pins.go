package compose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// PinsName is a file beside a compose file that names its images without
// digests: a JSON object of the names, as they stand there, and "sha256:…". It
// is measured with the config, so that a public compose file stays byte for byte
// what its authors wrote and its images cannot be exchanged.
const PinsName = "images.lock.json"

const maxPinsSize = 256 << 10

// readPins reads PinsName in a folder; nil where there is none.
func readPins(folder string) (vm.Pins, error) {
	raw, err := readBounded(filepath.Join(folder, PinsName), maxPinsSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pinned images: %w", err)
	}
	pins, err := ParsePins(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, PinsName), err)
	}
	return pins, nil
}

// ParsePins reads the content of PinsName.
func ParsePins(raw []byte) (vm.Pins, error) {
	var list map[string]string
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("parse pinned images: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse pinned images: trailing bytes after the object")
	}
	pins := vm.Pins{}
	for name, digest := range list {
		text, is := strings.CutPrefix(digest, "sha256:")
		h, err := vm.ParseHash(text)
		if !is || err != nil {
			return nil, fmt.Errorf("image %q is pinned to %q, want sha256: and 64 hex digits", name, digest)
		}
		pins[name] = h
	}
	return pins, nil
}

// EncodePins writes what ParsePins reads, one image a line, sorted.
func EncodePins(pins vm.Pins) ([]byte, error) {
	list := map[string]string{}
	for name, h := range pins {
		list[name] = "sha256:" + h.String()
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode pinned images: %w", err)
	}
	return append(b, '\n'), nil
}

// PinnedImage is the reference by which an image is pulled that a compose file
// names and, where that has no digest of its own, pin fixes: without tag, with
// digest. Variables have their defaults.
func PinnedImage(image string, pins vm.Pins) (reference string, err error) {
	name, err := Interpolate(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	name, digest, has := strings.Cut(name, "@")
	if !has {
		h, is := pins[image]
		if !is {
			return "", fmt.Errorf("image %q is not pinned", image)
		}
		digest = "sha256:" + h.String()
	}
	if tag := strings.LastIndexByte(name, ':'); tag > strings.LastIndexByte(name, '/') {
		name = name[:tag]
	}
	return name + "@" + digest, nil
}

// MirrorOf is the name of an image in a registry that mirrors others, which is
// host:port: what Docker understands by the name, below it. Names in that
// registry are what they are.
func MirrorOf(registry, reference string) string {
	if strings.HasPrefix(reference, registry+"/") {
		return reference
	}
	domain, path, found := strings.Cut(reference, "/")
	if !found || !strings.ContainsAny(domain, ".:") && domain != "localhost" {
		domain, path = "docker.io", reference
	}
	if domain == "docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return registry + "/" + domain + "/" + path
}
