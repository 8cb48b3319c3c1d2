//go:build e2e

package disk

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/host/qemu"
)

const block = 4096

// TestD3_ChangedBlocksAreReadErrors: on a disk with integrity nothing is read that
// the machine did not write at this place: no flipped bit, no block of elsewhere, no
// zeros, no earlier content. All else is read as before. On a disk without it the
// same change goes unnoticed, which shows that the change hit the file.
func TestD3_ChangedBlocksAreReadErrors(t *testing.T) {
	for _, integrity := range []bool{true, false} {
		m := newBench(t).common(t)
		m.put(make([]byte, m.size))
		use := func(generation, content uint64) []byte {
			t.Helper()
			if failed := m.do(order{Job: "use", Integrity: integrity, Generation: generation, Epoch: 1, Content: content}, nil); failed != "" {
				t.Fatal(failed)
			}
			return m.get()
		}
		before, after := use(0, 1), use(1, 2)
		first, blocks := longest(before, after)
		if blocks < 500 {
			t.Fatalf("the file that was written again has %d blocks in a row", blocks)
		}
		at := func(disk []byte, n int) []byte { return disk[(first+n)*block : (first+n+1)*block] }
		for _, tt := range []struct {
			name   string
			change func(disk []byte)
			blocks int // that are changed
		}{
			{"nothing", func([]byte) {}, 0},
			{"a bit", func(disk []byte) { at(disk, 7)[1234] ^= 4 }, 1},
			{"two blocks change places", func(disk []byte) { copy(at(disk, 20), at(after, 40)); copy(at(disk, 40), at(after, 20)) }, 2},
			{"zeros", func(disk []byte) { clear(at(disk, 9)) }, 1},
			{"what was there before", func(disk []byte) { copy(at(disk, 100), at(before, 100)) }, 1},
		} {
			disk := bytes.Clone(after)
			tt.change(disk)
			m.put(disk)
			var got said
			failed := m.do(order{Job: "read", Integrity: integrity, Generation: 2, Epoch: 1, Content: 2}, func(s said) { got = s })
			bad, other := got.Failed, got.Wrong
			if !integrity {
				bad, other = other, bad
			}
			if failed != "" || got.Blocks == 0 || len(bad) != tt.blocks || len(other) > 0 {
				t.Errorf("integrity %t, %s: blocks %v cannot be read, blocks %v are wrong, %s", integrity, tt.name, got.Failed, got.Wrong, failed)
			}
		}
		if !integrity {
			continue
		}
		// Every block of it but the superblock, whose change is noticed before.
		disk := bytes.Clone(after)
		for off := luks.PayloadOffset + 2*block; off < len(disk); off += block {
			disk[off] ^= 1
		}
		m.put(disk)
		failed := m.do(order{Job: "read", Integrity: true, Generation: 2, Epoch: 1, Content: 2}, nil)
		if failed == "" {
			t.Error("a disk whose blocks were all changed was opened")
		}
		t.Logf("all blocks changed: %s", failed)
	}
}

// longest finds the longest run of blocks in which two disks differ.
func longest(a, b []byte) (first, blocks int) {
	run := 0
	for i := range len(a) / block {
		if bytes.Equal(a[i*block:(i+1)*block], b[i*block:(i+1)*block]) {
			run = 0
			continue
		}
		if run++; run > blocks {
			first, blocks = i+1-run, run
		}
	}
	return first, blocks
}

// TestD1_KernelLeavesTheDiskAlone: where the key is another, or the header was changed
// anywhere, a real kernel has not written a byte to the disk when the machine gives up.
func TestD1_KernelLeavesTheDiskAlone(t *testing.T) {
	m := newBench(t).common(t)
	m.put(make([]byte, m.size))
	if failed := m.do(order{Job: "use", Epoch: 1, Records: 1}, nil); failed != "" {
		t.Fatal(failed)
	}
	whole := m.get()
	stays := func(what string, o order, disk []byte) {
		t.Helper()
		m.put(disk)
		if failed := m.do(o, nil); failed == "" {
			t.Errorf("%s: it was opened", what)
		}
		if !bytes.Equal(m.get(), disk) {
			t.Errorf("%s: the disk was written to", what)
		}
	}
	stays("another key", order{Job: "use", Generation: 1, Epoch: 1000}, whole)
	stays("another key, and the chain has forgotten", order{Job: "use", Epoch: 1000}, whole)
	chance := rand.New(rand.NewPCG(*seed, 2))
	const headers, material = 32 << 10, 256_000 // both copies; the key slot
	for range 12 {
		disk := bytes.Clone(whole)
		at := chance.IntN(headers + material)
		disk[at] ^= 1 << chance.IntN(8)
		stays("a bit of the header", order{Job: "use", Generation: uint64(chance.IntN(2)), Epoch: 1}, disk)
	}
	m.put(whole)
	if failed := m.do(order{Job: "use", Generation: 1, Epoch: 1}, nil); failed != "" {
		t.Errorf("the whole disk does not open any more: %s", failed)
	}
}

// TestD4_OldCopyIsRefused: a real disk of before is put back.
func TestD4_OldCopyIsRefused(t *testing.T) {
	m := newBench(t).common(t)
	for _, integrity := range []bool{false, true} {
		m.put(make([]byte, m.size))
		use := func(generation uint64) string {
			return m.do(order{Job: "use", Integrity: integrity, Generation: generation, Epoch: 1}, nil)
		}
		var copies [][]byte
		for generation := range uint64(3) {
			if failed := use(generation); failed != "" {
				t.Fatal(failed)
			}
			copies = append(copies, m.get())
		}
		for i, want := range []string{"is an old copy", "", ""} { // the second is one behind: the chain was not told of the third
			m.put(copies[i])
			if failed := use(2); (failed == "") != (want == "") || !strings.Contains(failed, want) {
				t.Errorf("integrity %t: generation %d, the chain's is 2: %q, want %q", integrity, i+1, failed, want)
			}
		}
	}
}

// TestEphemeralDiskStaysBlank: nothing that could be opened later is on it.
func TestEphemeralDiskStaysBlank(t *testing.T) {
	m := newBench(t).common(t)
	m.put(make([]byte, m.size))
	for range 2 {
		if failed := m.do(order{Job: "ephemeral", Content: 3}, nil); failed != "" {
			t.Fatal(failed)
		}
	}
	disk := m.get()
	if len(bytes.TrimLeft(disk[:luks.PayloadOffset], "\x00")) > 0 {
		t.Error("a header was written")
	}
	// Bytes 16 to 31 of a block of the file, which would lie there in the clear.
	if len(bytes.TrimLeft(disk, "\x00")) == 0 || bytes.Contains(disk, []byte("\x03\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00")) {
		t.Error("nothing was written, or what was written can be read")
	}
}

// TestGrow: a disk that the host enlarges makes its file system larger.
func TestGrow(t *testing.T) {
	m := newBench(t).start(t, machineOptions{size: 48 << 20})
	var small, large said
	use := func(generation uint64, into *said) {
		t.Helper()
		if failed := m.do(order{Job: "use", Epoch: 1, Generation: generation}, func(s said) {
			if s.Generation != nil {
				*into = s
			}
		}); failed != "" {
			t.Fatal(failed)
		}
	}
	use(0, &small)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	monitor, err := qemu.DialQMP(ctx, m.folder)
	must(t, err)
	defer monitor.Close()
	must(t, monitor.Execute(ctx, "block_resize", map[string]any{"node-name": "data", "size": 192 << 20}, nil))
	use(1, &large)
	if !large.Grown || small.Grown || large.Bytes < 3*small.Bytes || small.Bytes == 0 {
		t.Errorf("a file system of %d bytes grew to %d: %+v", small.Bytes, large.Bytes, large)
	}
	if info, err := os.Stat(m.disk()); err != nil || info.Size() != 192<<20 {
		t.Errorf("the disk was not enlarged: %v, %v", info, err)
	}
}
