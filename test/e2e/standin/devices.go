package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// devices tries to open every device that the machine has by its number, as a
// container does that wants to be more than it is. What it opened is named.
func devices() (result struct{ Tried, Opened []string }) {
	result.Opened = []string{}
	lists, _ := filepath.Glob("/sys/dev/*/*")
	for _, path := range lists {
		major, minor, found := strings.Cut(filepath.Base(path), ":")
		a, err1 := strconv.Atoi(major)
		b, err2 := strconv.Atoi(minor)
		if !found || err1 != nil || err2 != nil {
			continue
		}
		kind := uint32(syscall.S_IFCHR)
		if strings.Contains(path, "/block/") {
			kind = syscall.S_IFBLK
		}
		target, _ := os.Readlink(path)
		name := filepath.Base(target)
		if err := try(kind, a, b); err == nil {
			result.Opened = append(result.Opened, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			name += ": " + err.Error()
		}
		result.Tried = append(result.Tried, name)
	}
	return result
}

func try(kind uint32, major, minor int) error {
	node := filepath.Join(os.TempDir(), "node")
	defer os.Remove(node)
	// makedev(3): the low 8 bits of minor, 12 of major, then what is left of minor.
	number := minor&0xff | major<<8 | (minor&^0xff)<<12
	if err := syscall.Mknod(node, kind|0o600, number); err != nil {
		return err
	}
	f, err := os.OpenFile(node, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
