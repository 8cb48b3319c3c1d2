package foundry

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/image/archive"
)

// Spec is a file like firmware.yaml: what a product is built from and with.
type Spec struct {
	Suites []archive.SuiteSpec       `yaml:"suites"`
	Groups map[string]archive.Wanted `yaml:"groups"`
}

// ParseSpec reads the specification of a kind of product, which must have
// something in every one of the named groups; unknown fields are errors.
func ParseSpec(b []byte, kind string, groups ...string) (Spec, error) {
	var s Spec
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("parse %s specification: %w", kind, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("parse %s specification: more than one document", kind)
	}
	for _, name := range groups {
		if g := s.Groups[name]; len(g.Sources) == 0 && len(g.Packages) == 0 {
			return s, fmt.Errorf("%s specification: group %s is empty", kind, name)
		}
	}
	return s, nil
}
