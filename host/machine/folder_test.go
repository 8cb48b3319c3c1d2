package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const testDisk = 256 << 20

func open(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := Open(dir, testDisk)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFolderIsCreatedOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first := open(t, dir)
	if len(first.Instance()) != 32 {
		t.Errorf("instance id is %q", first.Instance())
	}
	info, err := os.Stat(first.Disk())
	if err != nil || info.Size() != testDisk || info.Mode().Perm() != 0o600 || allocated(info) > 1<<20 {
		t.Errorf("disk: %v, %v, %d bytes allocated", info, err, allocated(info))
	}
	if err := os.WriteFile(first.Disk(), make([]byte, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(first.Disk(), testDisk); err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir, testDisk/2) // a smaller size changes nothing
	if err != nil {
		t.Fatal(err)
	}
	if second.Instance() != first.Instance() || second.DiskSize() != testDisk {
		t.Errorf("second opening gives %s, %d", second.Instance(), second.DiskSize())
	}
	if other := open(t, t.TempDir()); other.Instance() == first.Instance() {
		t.Error("two machines have one instance id")
	}
}

func TestDiskGrows(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	for _, interrupted := range []bool{false, true} {
		want := int64(2 * testDisk)
		if interrupted { // between the disk and what is written down of it
			want *= 2
			if err := os.Truncate(filepath.Join(dir, diskName), want); err != nil {
				t.Fatal(err)
			}
		}
		f, err := Open(dir, want)
		if err != nil || f.DiskSize() != want {
			t.Fatalf("interrupted %t: %v, %d bytes", interrupted, err, f.DiskSize())
		}
		again, err := Open(dir, testDisk)
		info, _ := os.Stat(f.Disk())
		if err != nil || again.DiskSize() != want || info.Size() != want || allocated(info) > 1<<20 {
			t.Errorf("afterwards: %v, %d bytes of %d", err, again.DiskSize(), info.Size())
		}
	}
	if _, err := Open(dir, 8*testDisk+1); err == nil {
		t.Error("grew to half a block")
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil   func(t *testing.T, dir string)
		wantErr string
	}{
		"lost disk":     {func(t *testing.T, dir string) { remove(t, dir, diskName) }, "its disk"},
		"shorter disk":  {func(t *testing.T, dir string) { put(t, dir, diskName, "x") }, "has 1 bytes, want 268435456"},
		"lost state":    {func(t *testing.T, dir string) { put(t, dir, diskName, "data"); remove(t, dir, stateName) }, "is there already without"},
		"other version": {func(t *testing.T, dir string) { put(t, dir, stateName, `{"version":2}`) }, "version is 2"},
		"broken state":  {func(t *testing.T, dir string) { put(t, dir, stateName, `{`) }, "decode machine.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			open(t, dir)
			tc.spoil(t, dir)
			_, err := Open(dir, testDisk)
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tc.wantErr)
			}
		})
	}
	for _, size := range []int64{0, -1, MinDisk - 4096, MinDisk + 1, MaxDisk + 4096} {
		if _, err := Open(t.TempDir(), size); err == nil {
			t.Errorf("a disk of %d bytes is accepted", size)
		}
	}
}

// An interrupted creation left a blank disk and no state: it is begun again.
func TestInterruptedCreation(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	remove(t, dir, stateName)
	open(t, dir)
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	lock, err := LockFolder(dir, "secretvm up examples/guestbook")
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockFolder(dir, "another")
	if err == nil || !strings.Contains(err.Error(), "in use by process ") || !strings.Contains(err.Error(), "examples/guestbook") || !strings.Contains(err.Error(), "--state") {
		t.Errorf("error is %v", err)
	}
	// Children must not inherit the lock, or it would outlive its process.
	child := exec.Command("sleep", "30")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	lock.Release()
	again, err := LockFolder(dir, "another")
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
