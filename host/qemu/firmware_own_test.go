package qemu_test

import (
	"slices"
	"testing"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/vm"
)

// TestB6_FirmwareOfThisReleaseIsStarted: the list of firmware that was tested is
// that of the file that image/firmware builds, and its boot test boots.
func TestB6_FirmwareOfThisReleaseIsStarted(t *testing.T) {
	p, err := firmware.For(vm.SNP)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(qemu.Verifying, []vm.Hash{p.SHA256}) {
		t.Errorf("tested are %v, want %s alone", qemu.Verifying, p.SHA256)
	}
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	content, ok := firmware.Cached(cache, p)
	if !ok {
		t.Skipf("%s is not in the cache, to be looked at itself", p.File)
	}
	if err := qemu.CheckFirmware(vm.SNP, content, qemu.Verifying); err != nil {
		t.Error(err)
	}
}
