package linux

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/vm"
)

// bzImage has the setup header of a kernel as it is built.
func bzImage() []byte {
	b := append(linuxboottest.Kernel(), make([]byte, 0x1000)...)
	le := binary.LittleEndian
	copy(b[headerMagic:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	b[0x211] = 1
	le.PutUint32(b[initrdAddrMax:], 0x7fffffff)
	le.PutUint16(b[xLoadFlags:], 0x3f)
	return b
}

const real = "real"

// kernels are a made-up kernel, and the real one if it was built here.
func kernels(t *testing.T) map[string][]byte {
	t.Helper()
	preset, err := Preset(bzImage())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{"made-up": preset}
	r, err := Recipe()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return out
	}
	if kernel, ok := r.Cached(filepath.Join(cache, "secretvm")); ok {
		out[real] = kernel
	}
	return out
}

// One digest: QEMU's patching changes nothing in any machine of 512 MiB and more.
// host/qtest asks QEMU itself.
func TestPresetIsAFixedPoint(t *testing.T) {
	for name, kernel := range kernels(t) {
		before := bytes.Clone(kernel)
		for mib := int64(512); mib <= 512<<10; mib += 1 + mib/7 {
			got, err := linuxboot.Patch(kernel, "console=ttyS0", InitramfsSize, mib<<20)
			if err != nil || !bytes.Equal(got, before) {
				t.Errorf("%s kernel, %d MiB: patching changes it (%v)", name, mib, err)
			}
		}
		// What the promise does not cover does change it, so that the test shows something.
		for what, patched := range map[string]func() ([]byte, error){
			"an initramfs of another size": func() ([]byte, error) { return linuxboot.Patch(kernel, "", InitramfsSize-1, 2<<30) },
			"less memory":                  func() ([]byte, error) { return linuxboot.Patch(kernel, "", InitramfsSize, 256<<20) },
		} {
			if got, err := patched(); err != nil || bytes.Equal(got, kernel) {
				t.Errorf("%s kernel: %s changes nothing (%v)", name, what, err)
			}
		}
		if err := linuxboot.Authenticode(sha512.New384(), kernel); err != nil && name == real {
			t.Errorf("%s kernel cannot be measured: %v", name, err)
		}
		if again, err := Preset(kernel); err != nil || !bytes.Equal(again, kernel) {
			t.Errorf("%s kernel: presetting it again changes it (%v)", name, err)
		}
	}
}

// Nothing but the fields that QEMU or the choice of its address needs is touched.
func TestPresetChangesTheHeaderAlone(t *testing.T) {
	before := bzImage()
	after, err := Preset(before)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[int]bool{0x210: true, 0x211: true, 0x236: true}
	for _, field := range []int{0x218, 0x21c, 0x228, 0x22c} {
		for i := range 4 {
			allowed[field+i] = true
		}
	}
	allowed[0x224], allowed[0x225] = true, true
	for i := range before {
		if before[i] != after[i] && !allowed[i] {
			t.Errorf("byte %#x was changed", i)
		}
	}
	if vm.HashOf(before) != vm.HashOf(bzImage()) {
		t.Error("the given kernel was changed")
	}
	if _, err := Preset([]byte("MZ")); err == nil || !strings.Contains(err.Error(), "no Linux setup header") {
		t.Errorf("error is %v", err)
	}
}

func TestPad(t *testing.T) {
	given := []byte("cpio")
	got, err := Pad(given)
	if err != nil || len(got) != InitramfsSize || !bytes.HasPrefix(got, given) || len(bytes.Trim(got[len(given):], "\x00")) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if full, err := Pad(got); err != nil || !bytes.Equal(full, got) {
		t.Errorf("a full one: %v", err)
	}
	if _, err := Pad(make([]byte, InitramfsSize+1)); err == nil || !strings.Contains(err.Error(), "has room for 2097152") {
		t.Errorf("error is %v, want one that says how many bytes there is room for", err)
	}
}
