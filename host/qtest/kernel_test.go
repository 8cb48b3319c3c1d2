package qtest_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/host/qtest"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/test/locked"
)

// bzImage is no kernel, but QEMU takes it for one: one sector of setup code,
// protocol 2.15, loaded high.
func bzImage() []byte {
	b := make([]byte, 64<<10)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	le := binary.LittleEndian
	b[0x1f1] = 4 // setup sectors behind the boot sector
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	b[0x211] = 1                          // LOADED_HIGH
	le.PutUint32(b[0x22c:], 0x7fffffff)   // initrd_addr_max
	le.PutUint16(b[0x236:], 1<<1)         // XLF_CAN_BE_LOADED_ABOVE_4G
	le.PutUint32(b[0x238:], 2047)         // cmdline_size
	le.PutUint64(b[0x250:], 0)            // setup_data
	le.PutUint32(b[0x1f4:], uint32(4096)) // syssize, which nobody reads
	return b
}

// handedOver starts a QEMU with a kernel and an initrd and returns the
// file that newer firmware reads, and what older firmware reads: setup and kernel.
func handedOver(t *testing.T, binary qemu.Binary, kernel, initrd []byte, line string, mib int64) (s *qtest.Session, patched []byte) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{"vmlinuz": kernel, "initrd": initrd} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := qtest.Start(t.Context(), binary, []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,memory-backend=ram",
		"-m", strconv.FormatInt(mib, 10) + "M", "-object", "memory-backend-ram,id=ram,reserve=off,size=" + strconv.FormatInt(mib<<20, 10),
		"-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", filepath.Join(dir, "initrd"), "-append", line,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	const setupSize, kernelSize, setupData, kernelData = 0x17, 0x08, 0x18, 0x11 // FW_CFG_SETUP_SIZE …
	for _, part := range [][2]uint16{{setupSize, setupData}, {kernelSize, kernelData}} {
		b, err := s.Counted(part[0], part[1])
		if err != nil {
			t.Fatal(err)
		}
		patched = append(patched, b...)
	}
	return s, patched
}

// Firmware since edk2-stable202502 loads the kernel from etc/boot/kernel, which
// is the file. The items that older firmware reads hold QEMU's own values in the
// setup header, in a machine that is not confidential: exactly those of Patch.
func TestKernelAsHandedOver(t *testing.T) {
	binary := locked.QEMU(t)
	kernel, initrd, line := bzImage(), bytes.Repeat([]byte("initrd"), 3000), "console=ttyS0 panic=-1"
	for _, mib := range []int64{512, 1234, 2048, 2815, 2816, 8192} {
		s, got := handedOver(t, binary, kernel, initrd, line, mib)
		for name, want := range map[string][]byte{
			"etc/boot/kernel": kernel, "bootorder": measure.EDK2Stable202505().Items[1].Content,
		} {
			got, err := s.File(name)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d MiB: %s has %d bytes, not the %d that were given (%v)", mib, name, len(got), len(want), err)
			}
		}
		for name, item := range map[string]struct {
			size, data uint16
			want       []byte
		}{"initrd": {0x0b, 0x12, initrd}, "command line": {0x14, 0x15, []byte(line + "\x00")}} { // FW_CFG_INITRD_SIZE …
			got, err := s.Counted(item.size, item.data)
			if err != nil || !bytes.Equal(got, item.want) {
				t.Errorf("%d MiB: %s has %d bytes, not the %d that were given (%v)", mib, name, len(got), len(item.want), err)
			}
		}
		want, err := linuxboot.Patch(kernel, line, len(initrd), mib<<20)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			for i := range want {
				if i >= len(got) || got[i] != want[i] {
					t.Errorf("%d MiB: the patched kernel differs at %#x", mib, i)
					break
				}
			}
		}
		if bytes.Equal(got, kernel) {
			t.Errorf("%d MiB: nothing is patched: the test shows nothing", mib)
		}
	}
}

// The minimal kernel is what it is, however QEMU hands it over: its header has
// QEMU's own values already, whatever the memory. Of the kernel only the header
// matters here; where ours has not been built, a made-up one stands in.
func TestMinimalKernelIsHandedOverAsItIs(t *testing.T) {
	kernel, err := linux.Preset(bzImage())
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := linux.Recipe()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if built, ok := recipe.Cached(cache); ok {
		kernel = built
	} else {
		t.Log("the minimal kernel is not in the cache: its header on a made-up kernel")
	}
	initrd, err := linux.Pad([]byte("cpio"))
	if err != nil {
		t.Fatal(err)
	}
	binary := locked.QEMU(t)
	line := "console=ttyS0 panic=-1"
	for _, mib := range []int64{512, 1024, 1234, 2048, 2815, 2816, 3072, 65536} {
		if _, got := handedOver(t, binary, kernel, initrd, line, mib); !bytes.Equal(got, kernel) {
			t.Errorf("%d MiB: QEMU has changed the kernel", mib)
		}
	}
	// The promise is about initrds of one size: it is the header that keeps it.
	if _, got := handedOver(t, binary, kernel, initrd[1:], line, 2048); bytes.Equal(got, kernel) {
		t.Error("an initrd of another size changes nothing: the test shows nothing")
	}
}
