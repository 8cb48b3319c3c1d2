package archive

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// candidate is one package of an index, with what the resolver needs.
type candidate struct {
	lock.Package
	suite    string
	optIn    bool // only taken when asked for, as backports are
	depends  []dependency
	provides []relation
}

// relation names a package and, possibly, its version: name (op version).
type relation struct {
	name, op, version string
}

// dependency is satisfied by any one of its alternatives.
type dependency []relation

// index is every package of the suites that were read, by name and by provided name.
type index struct {
	byName   map[string][]*candidate
	provided map[string][]*candidate
}

// addIndex reads a Packages file.
func (x *index) add(r io.Reader, s SuiteSpec) error {
	if x.byName == nil {
		x.byName, x.provided = map[string][]*candidate{}, map[string][]*candidate{}
	}
	return eachStanza(r, "Packages of "+s.Suite, func(stanza deb.Stanza) error {
		c, err := parseCandidate(stanza)
		if err != nil {
			return err
		}
		c.Archive, c.suite, c.optIn = s.Archive, s.Suite, s.OptIn
		x.byName[c.Name] = append(x.byName[c.Name], c)
		for _, p := range c.provides {
			x.provided[p.name] = append(x.provided[p.name], c)
		}
		return nil
	})
}

// eachStanza gives visit every stanza of an index; what names it in errors.
func eachStanza(r io.Reader, what string, visit func(deb.Stanza) error) error {
	stanzas := deb.NewStanzas(r)
	for {
		stanza, err := stanzas.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(stanza)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", what, err)
		}
	}
}

func parseCandidate(s deb.Stanza) (*candidate, error) {
	c := &candidate{Package: lock.Package{
		Name: s["package"], Version: s["version"], Arch: s["architecture"], Path: s["filename"],
	}}
	var err error
	if c.Size, err = strconv.ParseInt(s["size"], 10, 64); err != nil || c.Size <= 0 {
		return nil, fmt.Errorf("package %q has the size %q", c.Name, s["size"])
	}
	if c.SHA256, err = vm.ParseHash(s["sha256"]); err != nil {
		return nil, fmt.Errorf("package %q: %w", c.Name, err)
	}
	for _, field := range []string{"pre-depends", "depends"} {
		for part := range strings.SplitSeq(s[field], ",") {
			var d dependency
			for alternative := range strings.SplitSeq(part, "|") {
				if r, ok := parseRelation(alternative); ok {
					d = append(d, r)
				}
			}
			if len(d) > 0 {
				c.depends = append(c.depends, d)
			}
		}
	}
	for part := range strings.SplitSeq(s["provides"], ",") {
		if r, ok := parseRelation(part); ok {
			c.provides = append(c.provides, r)
		}
	}
	return c, nil
}

// parseRelation reads "name", "name:any" or "name (>= version)".
func parseRelation(s string) (relation, bool) {
	name, rest, _ := strings.Cut(strings.TrimSpace(s), "(")
	name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
	r := relation{name: strings.TrimSpace(name)}
	rest, _, _ = strings.Cut(rest, ")")
	if rest = strings.TrimSpace(rest); rest != "" {
		r.version = strings.TrimLeft(rest, "<>= ")
		r.op = strings.TrimSpace(rest[:len(rest)-len(r.version)])
	}
	return r, r.name != ""
}

// holds reports whether version satisfies r's restriction.
func (r relation) holds(version string) bool {
	if r.op == "" {
		return true
	}
	if version == "" { // provided without a version: satisfies no restriction
		return false
	}
	c := CompareVersions(version, r.version)
	switch r.op {
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case "<=":
		return c <= 0
	case ">>":
		return c > 0
	case "<<":
		return c < 0
	}
	return false
}

// satisfies reports whether c is, or provides, what r names.
func (c *candidate) satisfies(r relation) bool {
	if c.Name == r.name {
		return r.holds(c.Version)
	}
	for _, p := range c.provides {
		if p.name == r.name && r.holds(p.version) {
			return true
		}
	}
	return false
}
