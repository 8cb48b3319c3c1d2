package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on what a mirror may send, in bytes.
const (
	maxRelease = 4 << 20
	maxIndex   = 256 << 20
)

// packagesIndex is the index that is read of every component of a suite.
const packagesIndex = "binary-amd64/Packages"

// mainComponent is what Debian consists of.
const mainComponent = "main"

// SuiteSpec names one suite of one archive.
type SuiteSpec struct {
	Archive string `yaml:"archive"`
	Suite   string `yaml:"suite"`
	OptIn   bool   `yaml:"opt_in"` // its packages are taken only when named, or when nothing else will do

	// Components are read beside main: contrib, non-free, non-free-firmware.
	Components []string `yaml:"components"`
}

// Refresher makes locks from archives.
type Refresher struct {
	Client       *fetch.Client
	Mirrors      Mirrors
	Keys         openpgp.EntityList
	Now          func() time.Time
	AllowExpired bool
	Note         func(format string, args ...any) // told what is going on; may be nil
}

// Refresh reads the suites, verifies them, and resolves the groups to a lock. An
// archive state older than that of previous is refused: a mirror, or whoever is
// in its place, could otherwise bring back packages with known holes.
func (f Refresher) Refresh(ctx context.Context, suites []SuiteSpec, groups map[string]Wanted, previous lock.Lock) (lock.Lock, error) {
	l := lock.Lock{Version: 1, Groups: map[string][]lock.Package{}}
	var x index
	var sources sourceIndex
	for _, s := range suites {
		release, err := f.release(ctx, s, previous)
		if err != nil {
			return l, err
		}
		l.Suites = append(l.Suites, lock.Suite{
			Archive: s.Archive, Name: s.Suite, Date: release.Date.Format(time.RFC3339), Release: release.SHA256,
		})
		for _, component := range append([]string{mainComponent}, s.Components...) {
			if err := f.packages(ctx, s, component, release, &x); err != nil {
				return l, err
			}
		}
		if wantsSources(groups) && !s.OptIn {
			if err := f.sources(ctx, s, release, &sources); err != nil {
				return l, err
			}
		}
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		packages, err := x.resolve(groups[group])
		if err != nil {
			return l, fmt.Errorf("resolve group %s: %w", group, err)
		}
		tarballs, err := sources.resolve(groups[group].Sources)
		if err != nil {
			return l, fmt.Errorf("resolve group %s: %w", group, err)
		}
		packages = append(packages, tarballs...)
		slices.SortFunc(packages, func(a, b lock.Package) int { return strings.Compare(a.Name, b.Name) })
		l.Groups[group] = packages
		f.note("%s: %d packages", group, len(packages))
	}
	return l, l.Validate()
}

// release fetches and verifies one InRelease file.
func (f Refresher) release(ctx context.Context, s SuiteSpec, previous lock.Lock) (Release, error) {
	var release Release
	mirrors, err := f.Mirrors.Of(s.Archive)
	if err != nil {
		return release, err
	}
	f.note("%s: InRelease", s.Suite)
	_, err = f.Client.Get(ctx, mirrors, "dists/"+s.Suite+"/InRelease", maxRelease, func(b []byte) error {
		r, err := VerifyRelease(b, s.Suite, f.Keys, f.Now(), f.AllowExpired)
		if err == nil {
			err = notOlder(r, s, previous)
		}
		if err == nil {
			release = r
		}
		return err
	})
	if err != nil {
		return release, fmt.Errorf("read suite %s: %w", s.Suite, err)
	}
	return release, nil
}

func notOlder(r Release, s SuiteSpec, previous lock.Lock) error {
	for _, p := range previous.Suites {
		if p.Archive != s.Archive || p.Name != s.Suite {
			continue
		}
		seen, err := time.Parse(time.RFC3339, p.Date)
		if err != nil {
			return fmt.Errorf("lock file: date of suite %s: %w", p.Name, err)
		}
		if r.Date.Before(seen) {
			return fmt.Errorf("InRelease is of %s, older than the lock's %s: the mirror is out of date, or someone is rolling it back",
				r.Date.Format(time.RFC3339), p.Date)
		}
	}
	return nil
}

// packages fetches one Packages index, in the form that its Release names, and adds it to x.
func (f Refresher) packages(ctx context.Context, s SuiteSpec, component string, release Release, x *index) error {
	r, err := f.index(ctx, s, release, component+"/"+packagesIndex+".xz")
	if err != nil {
		return err
	}
	return x.add(r, s)
}

// sources fetches one Sources index likewise.
func (f Refresher) sources(ctx context.Context, s SuiteSpec, release Release, x *sourceIndex) error {
	r, err := f.index(ctx, s, release, sourcesIndex+".xz")
	if err != nil {
		return err
	}
	return x.add(r, s)
}

// index fetches an index that the Release file names.
func (f Refresher) index(ctx context.Context, s SuiteSpec, release Release, name string) (io.Reader, error) {
	mirrors, err := f.Mirrors.Of(s.Archive)
	if err != nil {
		return nil, err
	}
	want, ok := release.Files[name]
	if !ok {
		return nil, fmt.Errorf("suite %s has no %s", s.Suite, name)
	}
	f.note("%s: %s", s.Suite, strings.TrimSuffix(name, ".xz"))
	// By digest, so that a mirror that is updated meanwhile does not matter.
	byHash := "dists/" + s.Suite + "/" + path.Dir(name) + "/by-hash/SHA256/" + want.SHA256.String()
	b, err := f.Client.Get(ctx, mirrors, byHash, maxIndex, func(b []byte) error {
		if vm.HashOf(b) != want.SHA256 || int64(len(b)) != want.Size {
			return errors.New("SHA-256 is not what InRelease says")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read suite %s: %w", s.Suite, err)
	}
	return deb.Decompress(name, bytes.NewReader(b))
}

func (f Refresher) note(format string, args ...any) {
	if f.Note != nil {
		f.Note(format, args...)
	}
}
