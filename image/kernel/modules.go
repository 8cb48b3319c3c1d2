package kernel

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
)

// Module is one kernel module as finit_module(2) takes it: uncompressed, and
// stripped (Strip).
type Module struct {
	Info
	Path    string // in its package, without a compression suffix
	Content []byte
}

// Set is every module of one kernel.
type Set struct {
	packed  map[string]packed // by canonical name
	builtin map[string]bool
	opened  map[string]Module
}

// packed is a module as its package has it.
type packed struct {
	path    string
	content []byte
}

// maxModule bounds one uncompressed module, in bytes.
const maxModule = 64 << 20

// NewSet returns an empty set.
func NewSet() *Set {
	return &Set{packed: map[string]packed{}, builtin: map[string]bool{}, opened: map[string]Module{}}
}

// Add takes a file of a kernel package if it is a module or the list of
// built-in modules, and reports whether it did.
func (s *Set) Add(name string, content []byte) bool {
	base := path.Base(name)
	if base == "modules.builtin" {
		for line := range strings.Lines(string(content)) {
			s.builtin[canonical(strings.TrimSuffix(path.Base(strings.TrimSpace(line)), ".ko"))] = true
		}
		return true
	}
	stem, suffix, ok := strings.Cut(base, ".ko")
	if !ok || (suffix != "" && suffix != ".xz" && suffix != ".zst" && suffix != ".gz") {
		return false
	}
	s.packed[canonical(stem)] = packed{name, content}
	return true
}

// Resolve returns the named modules and what they depend on, each once, every
// module behind those that it needs. Names of built-in modules give nothing, and
// neither do those that were loaded before.
func (s *Set) Resolve(names []string, before []Module) ([]Module, error) {
	var out []Module
	var visit func(name string, chain []string, soft bool) error
	visit = func(name string, chain []string, soft bool) error {
		name = canonical(name)
		is := func(m Module) bool { return m.Name == name }
		if s.builtin[name] || slices.ContainsFunc(out, is) || slices.ContainsFunc(before, is) {
			return nil
		}
		if slices.Contains(chain, name) {
			return fmt.Errorf("kernel module %s depends on itself: %s", name, strings.Join(chain, " → "))
		}
		if _, ok := s.packed[name]; !ok && soft {
			return nil // an alias, or something this kernel does not have
		}
		m, err := s.open(name)
		if err != nil {
			return err
		}
		chain = append(slices.Clone(chain), name)
		for _, d := range m.Soft {
			if err := visit(d, chain, true); err != nil {
				return err
			}
		}
		for _, d := range m.Depends {
			if err := visit(d, chain, false); err != nil {
				return err
			}
		}
		out = append(out, m)
		return nil
	}
	for _, name := range names {
		if err := visit(name, nil, false); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// open decompresses and parses one module.
func (s *Set) open(name string) (Module, error) {
	if m, ok := s.opened[name]; ok {
		return m, nil
	}
	p, ok := s.packed[name]
	if !ok {
		return Module{}, fmt.Errorf("this kernel has no module %s, loadable or built in", name)
	}
	r, err := deb.Decompress(p.path, strings.NewReader(string(p.content)))
	if err != nil {
		return Module{}, fmt.Errorf("kernel module %s: %w", name, err)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err != nil {
		return Module{}, fmt.Errorf("decompress kernel module %s: %w", name, err)
	}
	if len(content) > maxModule {
		return Module{}, fmt.Errorf("kernel module %s has more than %d bytes", name, maxModule)
	}
	if content, err = Strip(content); err != nil {
		return Module{}, fmt.Errorf("kernel module %s: %w", name, err)
	}
	info, err := ParseModule(content)
	if err != nil {
		return Module{}, fmt.Errorf("kernel module %s: %w", name, err)
	}
	stem, _, _ := strings.Cut(p.path, ".ko")
	m := Module{Info: info, Path: stem + ".ko", Content: content}
	s.opened[name] = m
	return m, nil
}
