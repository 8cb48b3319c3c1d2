package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// G8: a host that starts a machine for GPUs wrongly says so before it starts;
// what a dishonest one does, the guest and the key manager find.
func TestGPUsAreCheckedBeforeTheStart(t *testing.T) {
	devices := t.TempDir()
	for address, driver := range map[string]string{"0000:17:00.0": "vfio-pci", "0000:18:00.0": "nvidia"} {
		if err := os.MkdirAll(filepath.Join(devices, address), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../../bus/pci/drivers/"+driver, filepath.Join(devices, address, "driver")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(devices, "0000:1a:00.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	one := []string{"0000:17:00.0"}
	for _, tt := range []struct {
		name, setting string
		tee           vm.TEE
		gpus          []string
		own           bool
		wantErr       string
	}{
		{"none", vm.GPUNone, vm.Soft, nil, true, ""},
		{"one", vm.GPUAttest, vm.TDX, one, false, ""},
		{"on a laptop", vm.GPUAttest, vm.Soft, one, false, "--tee tdx --gpu ADDRESS"},
		{"not demanded", vm.GPUNone, vm.TDX, one, false, "say gpu: attest"},
		{"not named", vm.GPUAttest, vm.TDX, nil, false, "lspci"},
		{"base image", vm.GPUAttest, vm.TDX, one, true, "--spec gpu"},
		{"not there", vm.GPUAttest, vm.TDX, []string{"0000:19:00.0"}, false, "no such device"},
		{"in use", vm.GPUAttest, vm.TDX, []string{"0000:18:00.0"}, false, "its driver is nvidia"},
		{"without a driver", vm.GPUAttest, vm.TDX, []string{"0000:1a:00.0"}, false, "its driver is none"},
		{"a path", vm.GPUAttest, vm.TDX, []string{"../0000:17:00.0"}, false, "want a PCI address"},
	} {
		o := Options{TEE: tt.tee, GPUs: tt.gpus, OwnImage: tt.own, Workload: &compose.Workload{Path: "f", Settings: compose.Settings{GPU: tt.setting}}}
		err := o.checkGPUs(devices)
		if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.wantErr)
		}
		if err == nil && o.Shape.GPUs != len(tt.gpus) {
			t.Errorf("%s: the shape has %d GPUs, want %d", tt.name, o.Shape.GPUs, len(tt.gpus))
		}
	}
	im := Image{Folder: "x", Manifest: vm.Manifest{Name: "base"}}
	if err := im.forGPUs(1); err == nil || !strings.Contains(err.Error(), "--spec gpu") {
		t.Errorf("the base image for a GPU: %v", err)
	}
	if im.forGPUs(0) != nil {
		t.Error("the base image is refused without GPUs")
	}
}
