package archive

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/image/lock"
)

// Wanted is what one group of a lock is made from.
type Wanted struct {
	Packages []string `yaml:"packages"` // name, or name/suite for one from an opt-in suite
	Exclude  []string `yaml:"exclude"`  // never taken, and what depends on them has to do without
	Sources  []string `yaml:"sources"`  // source packages: their tarballs, no dependencies
	Alone    bool     `yaml:"alone"`    // without what they depend on: for files that are taken out
}

// maxRounds bounds how often a choice may be undone by a later restriction.
const maxRounds = 32

// resolve returns the closure of w's packages under Depends and Pre-Depends,
// sorted by name. A choice does not depend on the order of the index: suites
// that are not opt-in come first, then the highest version wins.
func (x *index) resolve(w Wanted) ([]lock.Package, error) {
	// A package that was chosen too early is chosen again with what was learnt.
	learnt := map[string][]relation{}
	for range maxRounds {
		r := resolution{index: x, exclude: w.Exclude, learnt: learnt, chosen: map[string]*candidate{}}
		for _, name := range w.Packages {
			name, suite, _ := strings.Cut(name, "/")
			c := r.pick(relation{name: name}, suite)
			if c == nil {
				return nil, fmt.Errorf("no suite has the package %s (suite %q)", name, suite)
			}
			r.take(c)
		}
		if w.Alone {
			return r.packages(), nil
		}
		if err := r.close(); err != nil {
			return nil, err
		}
		if !r.again {
			return r.packages(), nil
		}
	}
	return nil, fmt.Errorf("dependencies of %s do not settle", strings.Join(w.Packages, ", "))
}

// resolution is one round of resolve.
type resolution struct {
	*index
	exclude []string
	learnt  map[string][]relation
	chosen  map[string]*candidate
	queue   []*candidate
	again   bool
}

func (r *resolution) take(c *candidate) {
	if r.chosen[c.Name] == nil {
		r.chosen[c.Name] = c
		r.queue = append(r.queue, c)
	}
}

func (r *resolution) close() error {
	for len(r.queue) > 0 {
		c := r.queue[0]
		r.queue = r.queue[1:]
		for _, d := range c.depends {
			if err := r.satisfy(d); err != nil {
				return fmt.Errorf("%s: %w", c.ID(), err)
			}
		}
	}
	return nil
}

// satisfy makes sure that one alternative of d is chosen, unless one is excluded.
func (r *resolution) satisfy(d dependency) error {
	for _, want := range d {
		if slices.Contains(r.exclude, want.name) {
			return nil
		}
		for _, c := range r.chosen {
			if c.satisfies(want) {
				return nil
			}
		}
	}
	for _, want := range d {
		c := r.pick(want, "")
		if c == nil {
			continue
		}
		if earlier := r.chosen[c.Name]; earlier != nil {
			// Chosen in a version that does not do: remember and start over.
			r.learnt[c.Name] = append(r.learnt[c.Name], want)
			r.again = true
			return nil
		}
		r.take(c)
		return nil
	}
	return fmt.Errorf("nothing satisfies the dependency on %s", d)
}

// pick returns the best candidate for want from suite ("": any), or nil.
func (r *resolution) pick(want relation, suite string) *candidate {
	var best *candidate
	for _, list := range [][]*candidate{r.byName[want.name], r.provided[want.name]} {
		for _, c := range list {
			switch {
			case suite != "" && c.suite != suite, !c.satisfies(want), slices.Contains(r.exclude, c.Name):
				continue
			case slices.ContainsFunc(r.learnt[c.Name], func(l relation) bool { return !c.satisfies(l) }):
				continue
			}
			if best == nil || better(c, best) {
				best = c
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// better reports whether a is to be preferred over b.
func better(a, b *candidate) bool {
	if a.optIn != b.optIn {
		return !a.optIn
	}
	if a.Name != b.Name { // two providers: any fixed order
		return a.Name < b.Name
	}
	if c := CompareVersions(a.Version, b.Version); c != 0 {
		return c > 0
	}
	return a.Archive < b.Archive // the same version in two archives
}

func (r *resolution) packages() []lock.Package {
	var out []lock.Package
	for _, c := range r.chosen {
		out = append(out, c.Package)
	}
	slices.SortFunc(out, func(a, b lock.Package) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (d dependency) String() string {
	var parts []string
	for _, r := range d {
		parts = append(parts, strings.TrimSpace(r.name+" "+r.op+" "+r.version))
	}
	return strings.Join(parts, " or ")
}
