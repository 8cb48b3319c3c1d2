// Package locked gives tests the tools of the lock file, where they are at
// hand already: tests download nothing.
package locked

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/lock"
)

// QEMU returns the locked QEMU if the cache has it, or skips the test.
func QEMU(t testing.TB) qemu.Binary {
	t.Helper()
	l, err := image.BaseLock()
	if err != nil {
		t.Fatal(err)
	}
	group, err := l.Group(lock.Tools)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := image.CacheDir()
	if err != nil {
		t.Skipf("no cache folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cache, "tools", lock.Digest(group).String()[:32])); err != nil {
		t.Skipf("the locked QEMU is not in the cache: %v", err)
	}
	binary, err := local.Locked{}.QEMU(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
