package linuxboot_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
)

// setup is a test kernel with a setup header of protocol 2.15.
func setup() []byte {
	b := append(linuxboottest.Kernel(), make([]byte, 0x1000)...)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	binary.LittleEndian.PutUint32(b[0x22c:], 0x7fffffff)
	binary.LittleEndian.PutUint16(b[0x236:], 1<<1)
	return b
}

// Where QEMU puts an initrd of 5000 bytes, by memory; host/qtest holds all
// bytes against QEMU itself.
func TestPatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		memory int64
		above  bool
		want   uint32
	}{
		{"little memory", 512 << 20, true, 0x1ffd6000},
		{"2 GiB", 2 << 30, true, 0x7ffd6000},
		{"just below the split", 2815 << 20, true, 0xafed6000},
		{"split", 2816 << 20, true, 0x7ffd6000},
		{"old kernel", 2815 << 20, false, 0x7fffe000},
	} {
		t.Run(c.name, func(t *testing.T) {
			kernel := setup()
			if !c.above {
				kernel[0x236] = 0
			}
			before := bytes.Clone(kernel)
			got, err := linuxboot.Patch(kernel, "console=ttyS0", 5000, c.memory)
			if err != nil {
				t.Fatal(err)
			}
			le := binary.LittleEndian
			if at, size := le.Uint32(got[0x218:]), le.Uint32(got[0x21c:]); at != c.want || size != 5000 {
				t.Errorf("the initrd is at %#x with %d bytes, want %#x and 5000", at, size, c.want)
			}
			if !bytes.Equal(kernel, before) {
				t.Error("the given kernel was changed")
			}
			again, err := linuxboot.Patch(got, "console=ttyS0", 5000, c.memory)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("a patched kernel is no fixed point: %v", err)
			}
		})
	}
}

// Whatever the header says, only its own fields change.
func FuzzPatch(f *testing.F) {
	f.Add(setup(), "console=ttyS0", uint32(4096), uint32(512))
	f.Add(linuxboottest.Kernel(), "vga=5", uint32(0), uint32(4096))
	f.Fuzz(func(t *testing.T, kernel []byte, line string, initrd, mib uint32) {
		got, err := linuxboot.Patch(kernel, line, int(initrd), int64(mib)<<20)
		if err != nil {
			return
		}
		if len(got) != len(kernel) || !bytes.Equal(got[:0x210], kernel[:0x210]) || !bytes.Equal(got[0x22c:], kernel[0x22c:]) {
			t.Fatal("bytes outside of what QEMU writes have changed")
		}
	})
}

func TestPatchRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		kernel  func() []byte
		line    string
		initrd  int
		wantErr string
	}{
		{"no header", func() []byte { return []byte("MZ") }, "", 0, "no Linux setup header"},
		{"no magic", linuxboottest.Kernel, "", 0, "no Linux setup header"},
		{"old protocol", func() []byte { b := setup(); b[0x206] = 4; return b }, "", 0, "boot protocol is 0x204"},
		{"video mode", setup, "quiet vga=5", 0, "vga="},
		{"initrd larger than memory", setup, "", 512 << 20, "does not fit below"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := linuxboot.Patch(c.kernel(), c.line, c.initrd, 512<<20); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}
