// Package kmod loads kernel modules by the finit_module system call, in the
// order of a list that the image builder made: no depmod, no modprobe.
package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxList bounds a module list, in bytes.
const maxList = 64 << 10

// LoadList loads the modules that the list at path names, one absolute path a
// line, dependencies first, and returns how many the kernel took. Modules that
// are loaded or built in already are passed over, and so are drivers without
// their device. After another error it goes on with the rest of the list; the
// returned error joins all of them.
func LoadList(path string) (loaded int, err error) {
	return loadList(path, load)
}

func loadList(path string, load func(string) error) (int, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read module list: %w", err)
	}
	modules, err := parseList(content)
	if err != nil {
		return 0, fmt.Errorf("read module list %s: %w", path, err)
	}
	var loaded int
	var failed []error
	for _, module := range modules {
		switch err := load(module); {
		case err == nil:
			loaded++
		case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENODEV):
		default:
			failed = append(failed, fmt.Errorf("load module %s: %w", filepath.Base(module), err))
		}
	}
	return loaded, errors.Join(failed...)
}

func parseList(content []byte) ([]string, error) {
	if len(content) > maxList {
		return nil, fmt.Errorf("it has %d bytes, want at most %d", len(content), maxList)
	}
	var modules []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if !filepath.IsAbs(line) || filepath.Clean(line) != line {
			return nil, fmt.Errorf("%q is not a clean absolute path", line)
		}
		modules = append(modules, line)
	}
	return modules, nil
}

// load gives one file to the kernel, which checks its signature and, where the
// name says so, decompresses it.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", flags(path))
}

func flags(path string) int {
	switch filepath.Ext(path) {
	case ".xz", ".zst", ".gz":
		return unix.MODULE_INIT_COMPRESSED_FILE
	}
	return 0
}
