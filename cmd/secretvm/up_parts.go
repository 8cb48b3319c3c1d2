package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// parts sets where the image and the emulator come from: the lock file, or what
// the flags name.
func (f upFlags) parts(o *local.Options) {
	locked := local.Locked{Mirrors: f.mirrors}
	o.Image, o.QEMU, o.Containers = locked.Image, locked.QEMU, locked.Containers
	o.NodeWorkload = locked.NodeWorkload
	o.Complete = f.services.complete
	o.OwnImage = f.image == ""
	if f.image != "" {
		o.Image = local.ImageFolder(f.image)
	}
	if f.qemu != "" {
		o.QEMU = func(ctx context.Context, _ local.Note) (qemu.Binary, error) { return qemu.System(ctx, f.qemu) }
	}
}

// complete finds what the vendor signs about the processor of a machine, in the
// cache or at the vendor's service.
func (s *serviceFlags) complete(ctx context.Context, ev *vm.Evidence, note local.Note) error {
	o, err := s.options(note)
	if err != nil {
		return err
	}
	return endorsement.Complete(ctx, ev, o)
}

// developmentRoot makes the PKI of the soft TEE on first use.
func developmentRoot(dir string) (string, error) {
	if _, err := emulator.LoadOrCreatePKI(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, emulator.RootFile), nil
}

// findKmsd looks for the KMS's program beside this one and then in $PATH.
func findKmsd(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find kmsd: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "kmsd")
		if _, err := os.Stat(path); err != nil {
			path = "kmsd"
		}
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("find kmsd: %w (build it with: make build; or name it with --kmsd)", err)
	}
	return filepath.Abs(found)
}
