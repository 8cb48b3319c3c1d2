package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
)

// newImageLockCommand resolves the specification's packages against today's archives.
func newImageLockCommand() *cobra.Command {
	var r relock
	var specFile string
	c := &cobra.Command{
		Use:   "lock",
		Short: "Choose the exact packages of an image from today's Debian archives",
		Long: `Reads the signed state of the Debian archives that the image specification
names, verifies it with the archive keys of this repository, resolves the
packages and what they depend on, and writes their versions and SHA-256s.

Mirrors are those of this machine's apt configuration. --mirror puts further
ones before them; ` + archive.MirrorsVariable + ` replaces them.`,
		Example: `  secretvm image lock
  secretvm image lock --mirror debian=https://mirror.example/debian`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			specBytes, err := os.ReadFile(specFile)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("%w; run it in the source tree, or name --spec and --lock", err)}
			}
			spec, err := image.ParseSpec(specBytes)
			if err != nil {
				return err
			}
			r.suites, r.groups = spec.Suites, spec.Groups
			return r.run(c)
		},
	}
	folder := filepath.Join("image", "specs")
	c.Flags().StringVar(&specFile, "spec", filepath.Join(folder, image.Base+".yaml"), "image specification to resolve")
	r.addFlags(c, filepath.Join(folder, image.Base+".lock.json"))
	return c
}

// relock makes a lock file anew.
type relock struct {
	suites       []archive.SuiteSpec
	groups       map[string]archive.Wanted
	lockFile     string
	mirrors      []string
	allowExpired bool
	asJSON       bool
}

func (r *relock) addFlags(c *cobra.Command, lockFile string) {
	c.Flags().StringVar(&r.lockFile, "lock", lockFile, "lock file to write")
	c.Flags().StringArrayVar(&r.mirrors, "mirror", nil, "ARCHIVE=URL to try first; ARCHIVE is debian or debian-security")
	c.Flags().BoolVar(&r.allowExpired, "allow-expired", false, "accept an archive state past its Valid-Until (mirrors that keep old states)")
	c.Flags().BoolVar(&r.asJSON, "json", false, "print JSON")
}

// run resolves the groups, writes the lock and prints what changed.
func (r *relock) run(c *cobra.Command) error {
	previous, err := readLock(r.lockFile)
	if err != nil {
		return err
	}
	found, err := archive.FindMirrors(r.mirrors, os.Getenv(archive.MirrorsVariable), aptFolder)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	keys, err := archive.Keys()
	if err != nil {
		return err
	}
	refresher := archive.Refresher{
		Client: fetch.New(aptFolder), Mirrors: found, Keys: keys, Now: time.Now, AllowExpired: r.allowExpired,
		Note: func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), " · "+format+"\n", args...) },
	}
	next, err := refresher.Refresh(c.Context(), r.suites, r.groups, previous)
	if err != nil {
		return err
	}
	encoded, err := next.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.lockFile, encoded, 0o644); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	changes := lock.Compare(previous, next)
	if r.asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(map[string]any{"lock": r.lockFile, "changes": changes})
	}
	for _, change := range changes {
		fmt.Fprintln(c.OutOrStdout(), change)
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: %d changes\n", r.lockFile, len(changes))
	return nil
}

// readLock reads the lock file that is to be replaced; there need not be one.
func readLock(name string) (lock.Lock, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return lock.Lock{}, nil
	}
	if err != nil {
		return lock.Lock{}, fmt.Errorf("read lock file: %w", err)
	}
	return lock.Parse(b)
}
