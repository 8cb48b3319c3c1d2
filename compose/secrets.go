package compose

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/vm"
)

// Secret is one of the file's own secrets, which Compose shows to services as
// files below /run/secrets.
type Secret struct {
	Name        string
	File        string // where it lies, as it stands in the file
	Environment string // or the variable that holds it
	// What the first service asks for that asks: the mode of the file, 0444 as in
	// Compose where none does, and its owner.
	Mode     fs.FileMode
	UID, GID int
}

// Outside are what a compose file takes from beside it and need not be public:
// its secrets, and files of variables.
type Outside struct {
	Secrets  []Secret // in the order of the file
	EnvFiles []string // as they stand in the file, sorted
	Optional []string // likewise, of those that may be missing
}

// FromOutside reads what a compose file takes from beside it.
func FromOutside(raw []byte) (Outside, error) {
	doc, err := parseDocument(raw)
	if err != nil {
		return Outside{}, err
	}
	return fromOutside(doc)
}

func fromOutside(doc *yaml.Node) (out Outside, err error) {
	names, secrets := pairs(lookup(doc, "secrets"))
	for i, name := range names {
		s := Secret{Name: name.Value, Mode: 0o444, File: text(lookup(secrets[i], "file")), Environment: text(lookup(secrets[i], "environment"))}
		if err := vm.CheckSecret(s.Name); err != nil {
			return out, at(name, "%v", err)
		}
		out.Secrets = append(out.Secrets, s)
	}
	asked := map[string]bool{}
	_, services := pairs(lookup(doc, "services"))
	for _, service := range services {
		for _, use := range items(lookup(service, "secrets")) {
			i := slices.IndexFunc(out.Secrets, func(s Secret) bool { return s.Name == text(lookup(use, "source")) })
			if i < 0 || asked[out.Secrets[i].Name] {
				continue
			}
			asked[out.Secrets[i].Name], err = out.Secrets[i].permit(use)
			if err != nil {
				return out, at(use, "secret %s: %v", out.Secrets[i].Name, err)
			}
		}
		for _, file := range items(lookup(service, "env_file")) {
			to := &out.EnvFiles
			if required := lookup(file, "required"); required != nil && required.Value == "false" {
				to = &out.Optional
			}
			*to = append(*to, text(file)+text(lookup(file, "path")))
		}
	}
	slices.Sort(out.EnvFiles)
	out.EnvFiles = slices.Compact(out.EnvFiles)
	slices.Sort(out.Optional)
	out.Optional = slices.Compact(out.Optional)
	return out, nil
}

// permit takes over what a service asks for in the long form.
func (s *Secret) permit(use *yaml.Node) (asked bool, err error) {
	for _, f := range []struct {
		name string
		set  func(uint64)
	}{
		{"mode", func(v uint64) { s.Mode = fs.FileMode(v) & 0o777 }},
		{"uid", func(v uint64) { s.UID = int(v) }},
		{"gid", func(v uint64) { s.GID = int(v) }},
	} {
		n := lookup(use, f.name)
		if n == nil {
			continue
		}
		base := 10
		if f.name == "mode" { // 0440 is octal, as in YAML 1.1
			base = 0
		}
		v, err := strconv.ParseUint(n.Value, base, 31)
		if err != nil {
			return false, fmt.Errorf("%s %q is no number", f.name, n.Value)
		}
		f.set(v)
		asked = true
	}
	return asked, nil
}

// Local returns a path of a compose file relative to its folder; empty: it is no
// path below that.
func Local(name string) string {
	if name = path.Clean(name); name == "." || !filepath.IsLocal(name) || name[0] == '~' {
		return ""
	}
	return name
}

// items are the elements of a list, or the only one, which needs no list.
func items(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil || n.Tag == "!!null":
		return nil
	case n.Kind != yaml.SequenceNode:
		return []*yaml.Node{n}
	}
	out := slices.Clone(n.Content)
	for i := range out {
		out[i] = follow(out[i])
	}
	return out
}

// text is the value of a scalar; empty for everything else.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}
