//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/secretvm/secretvm/host/machine"
)

// copyDisk copies a sparse disk image.
func copyDisk(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy disk: %v: %s", err, out)
	}
}

// flip changes one bit at each offset of a file.
func flip(t *testing.T, file string, offsets ...int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range offsets {
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
}

// stays boots b, which must halt at the disk and leave every byte of it alone.
func (h *host) stays(t *testing.T, b machine.Boot, words ...string) {
	t.Helper()
	before := digest(t, h.folder.Disk())
	want(t, h.halts(t, b), "disk", words...)
	if digest(t, h.folder.Disk()) != before {
		t.Error("the disk image was changed")
	}
}

// D1: the guestbook's disk, given to another instance, whose key is another one.
func TestD1_WrongKeyLeavesTheDiskAlone(t *testing.T) {
	h := newHost(t, "d1-key")
	copyDisk(t, filepath.Join(h.state, "machines", "guestbook", "disk.img"), h.folder.Disk())
	h.stays(t, h.boot(t), "key")
}

// D1: the guestbook's own disk with a damaged header; put right again, it opens.
func TestD1_DamagedHeaderLeavesTheDiskAlone(t *testing.T) {
	h := newHost(t, "guestbook")
	whole := filepath.Join(t.TempDir(), "whole.img")
	copyDisk(t, h.folder.Disk(), whole)
	for _, tt := range []struct {
		name    string
		offsets []int64
	}{
		{"first magic", []int64{0}},
		{"both magics", []int64{0, 0x4000}},
		{"metadata", []int64{0x1000 + 40}},
		{"key slot", []int64{0x8000 + 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			copyDisk(t, whole, h.folder.Disk())
			flip(t, h.folder.Disk(), tt.offsets...)
			h.stays(t, h.boot(t))
		})
	}
	copyDisk(t, whole, h.folder.Disk())
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	run := h.start(ctx, t, h.boot(t))
	defer run.Close()
	if _, err := run.WaitStep(ctx, "disk"); err != nil {
		t.Fatalf("the whole disk does not open any more: %v\n%s", err, run.Report(40))
	}
}
