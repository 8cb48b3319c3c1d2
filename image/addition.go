package image

import (
	"fmt"
	"maps"
	"slices"

	"github.com/secretvm/secretvm/image/lock"
)

// DevSource returns the specification and the lock of the image for development
// that this program was built with: Base, and what Dev adds to it.
func DevSource() (Source, error) {
	base, err := BaseSource()
	if err != nil {
		return Source{}, err
	}
	spec, err := specFiles.ReadFile("specs/" + Dev + ".yaml")
	if err != nil {
		return Source{}, fmt.Errorf("read image specification: %w", err)
	}
	locked, err := specFiles.ReadFile("specs/" + Dev + ".lock.json")
	if err != nil {
		return Source{}, fmt.Errorf("read lock file: %w", err)
	}
	more, err := ParseSource(spec, locked)
	if err != nil {
		return Source{}, err
	}
	s, err := base.with(more)
	s.Spec.dev = true
	return s, err
}

// with adds to an image. Packages of both are the base's: whatever is added, what
// was there stays what it was.
func (s Source) with(more Source) (Source, error) {
	s.Spec.Name = more.Spec.Name
	s.SpecBytes = append(slices.Clone(s.SpecBytes), more.SpecBytes...)
	s.LockBytes = append(slices.Clone(s.LockBytes), more.LockBytes...)
	r := &s.Spec.Rootfs
	r.Folders = slices.Concat(r.Folders, more.Spec.Rootfs.Folders)
	for _, m := range []struct {
		to   *map[string]string
		from map[string]string
	}{{&r.Links, more.Spec.Rootfs.Links}, {&r.Files, more.Spec.Rootfs.Files}, {&r.Programs, more.Spec.Rootfs.Programs}} {
		*m.to = maps.Clone(*m.to)
		if *m.to == nil {
			*m.to = map[string]string{}
		}
		for name := range m.from {
			if _, there := (*m.to)[name]; there {
				return s, fmt.Errorf("image specification %s: %s has %s already", more.Spec.Name, Base, name)
			}
		}
		maps.Copy(*m.to, m.from)
	}
	s.Lock.Groups = maps.Clone(s.Lock.Groups)
	guest := slices.Clone(s.Lock.Groups[lock.Guest])
	for _, name := range slices.Sorted(maps.Keys(more.Lock.Groups)) {
		for _, p := range more.Lock.Groups[name] {
			if !slices.ContainsFunc(guest, func(q lock.Package) bool { return q.Name == p.Name }) {
				guest = append(guest, p)
			}
		}
	}
	s.Lock.Groups[lock.Guest] = guest
	return s, nil
}
