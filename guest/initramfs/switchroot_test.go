package initramfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemoveBelow(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"modules/deep", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "kept")
	for _, file := range []string{filepath.Join(root, "init"), filepath.Join(root, "modules/deep/a.ko"), outside} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		t.Fatal(err)
	}
	if err := removeBelow(root, st.Dev+1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "init")); err != nil {
		t.Errorf("a file of another file system was removed: %v", err)
	}
	if err := removeBelow(root, st.Dev); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Errorf("%d entries are left", len(left))
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
}

// TestFreeRefusesRealFileSystem: freeing anything but a file system in memory
// would delete somebody's files.
func TestFreeRefusesRealFileSystem(t *testing.T) {
	err := free("/proc")
	if err == nil || !strings.Contains(err.Error(), "not a file system in memory") {
		t.Errorf("/proc gives %v", err)
	}
}
