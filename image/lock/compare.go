package lock

import (
	"fmt"
	"maps"
	"slices"
)

// Compare returns what changed from one lock to the next, one line a package,
// sorted by group and name.
func Compare(from, to Lock) []string {
	var out []string
	groups := slices.Concat(slices.Collect(maps.Keys(from.Groups)), slices.Collect(maps.Keys(to.Groups)))
	slices.Sort(groups)
	for _, group := range slices.Compact(groups) {
		before, after := byName(from.Groups[group]), byName(to.Groups[group])
		names := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			old, had := before[name]
			now, has := after[name]
			switch {
			case !had:
				out = append(out, fmt.Sprintf("%s: + %s %s", group, name, now.Version))
			case !has:
				out = append(out, fmt.Sprintf("%s: - %s %s", group, name, old.Version))
			case old != now:
				out = append(out, fmt.Sprintf("%s: %s %s → %s", group, name, old.Version, now.Version))
			}
		}
	}
	return out
}

func byName(packages []Package) map[string]Package {
	out := map[string]Package{}
	for _, p := range packages {
		out[p.Name] = p
	}
	return out
}
