package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Bounds of a store that is kept in order.
type Bounds struct {
	Size int64         // of all objects together, in bytes
	Age  time.Duration // since an entry was fetched
}

// DefaultBounds leave room for hundreds of platforms, and for the grace that
// a policy may give to old collateral.
var DefaultBounds = Bounds{Size: 64 << 20, Age: 365 * 24 * time.Hour}

// young objects are spared: another process may be about to name them.
const young = time.Hour

// Prune forgets entries that are too old or damaged, then the oldest ones
// until the rest fits, and removes objects and left-over files that no entry
// names. It does so at most once a day for a folder, unless forced.
func (f *Folder) Prune(now time.Time, b Bounds, force bool) error {
	if !force && !f.due(now) {
		return nil
	}
	keep, err := f.pruneEntries(now, b)
	if err != nil {
		return err
	}
	return f.sweep(now, keep)
}

// due reports whether a day has passed since the last time, and notes now.
func (f *Folder) due(now time.Time) bool {
	marker := filepath.Join(f.dir, "pruned")
	if info, err := os.Stat(marker); err == nil && now.Sub(info.ModTime()) < 24*time.Hour && info.ModTime().Before(now.Add(time.Hour)) {
		return false
	}
	return os.WriteFile(marker, nil, 0o600) == nil && os.Chtimes(marker, now, now) == nil
}

// pruneEntries returns the objects that the remaining entries name.
func (f *Folder) pruneEntries(now time.Time, b Bounds) (map[vm.Hash]bool, error) {
	files, err := os.ReadDir(filepath.Join(f.dir, "index"))
	if err != nil {
		return nil, fmt.Errorf("prune collateral store: %w", err)
	}
	type kept struct {
		file string
		index
		size int64
	}
	var entries []kept
	for _, file := range files {
		name := filepath.Join(f.dir, "index", file.Name())
		if strings.HasPrefix(file.Name(), temporary) {
			continue // sweep decides
		}
		raw, err := f.read("index/"+file.Name(), maxIndex)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		x, parseErr := parseIndex(raw)
		if err != nil || parseErr != nil || now.Sub(x.Fetched) > b.Age {
			os.Remove(name)
			continue
		}
		k := kept{file: name, index: x, size: f.size(x.Body)}
		if x.Chain != nil {
			k.size += f.size(*x.Chain) // shared chains count for each: the bound is an upper one
		}
		entries = append(entries, k)
	}
	slices.SortFunc(entries, func(x, y kept) int { return y.Fetched.Compare(x.Fetched) }) // newest first
	keep := map[vm.Hash]bool{}
	var total int64
	for _, e := range entries {
		if total += e.size; total > b.Size {
			os.Remove(e.file)
			continue
		}
		keep[e.Body] = true
		if e.Chain != nil {
			keep[*e.Chain] = true
		}
	}
	return keep, nil
}

func (f *Folder) size(h vm.Hash) int64 {
	info, err := os.Stat(filepath.Join(f.dir, objectName(h)))
	if err != nil {
		return 0
	}
	return info.Size()
}

// sweep removes what nobody names and is not young.
func (f *Folder) sweep(now time.Time, keep map[vm.Hash]bool) error {
	for _, sub := range []string{"objects", "index"} {
		files, err := os.ReadDir(filepath.Join(f.dir, sub))
		if err != nil {
			return fmt.Errorf("prune collateral store: %w", err)
		}
		for _, file := range files {
			h, err := vm.ParseHash(file.Name())
			named := sub == "index" && !strings.HasPrefix(file.Name(), temporary) || err == nil && keep[h]
			info, err := file.Info()
			if named || err != nil || now.Sub(info.ModTime()) < young {
				continue
			}
			os.Remove(filepath.Join(f.dir, sub, file.Name()))
		}
	}
	return nil
}
