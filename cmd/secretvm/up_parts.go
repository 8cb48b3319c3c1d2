package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/tools"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// findImage returns the folder that --image names, or builds the base image
// from this source tree unless the cache has it.
func (f upFlags) findImage(ctx context.Context, note local.Note) (folder, remark string, err error) {
	if f.image != "" {
		return f.image, "from " + f.image, nil
	}
	source, err := image.BaseSource()
	if err != nil {
		return "", "", err
	}
	cache, err := image.CacheDir()
	if err != nil {
		return "", "", err
	}
	packages, err := image.OpenPool(cache, aptFolder, os.Getenv(archive.MirrorsVariable), f.mirrors, note)
	if err != nil {
		return "", "", err
	}
	built, err := image.Build(ctx, image.Options{
		Source: source, CacheDir: cache, Pool: packages, Predict: predictShapes, Report: noteReporter(note),
	})
	if err != nil {
		return "", "", err
	}
	remark = built.Manifest.Release
	if built.Cached {
		remark += " (cached)"
	}
	return built.Dir, remark, nil
}

// predictShapes is what the builder writes into manifests.
func predictShapes(firmware, kernel, initrd []byte, commandLine string, shapes []vm.Shape) ([]vm.Prediction, error) {
	return measure.PredictShapes(measure.Input{
		Firmware: firmware, Kernel: kernel, Initrd: initrd, CommandLine: commandLine, Profile: measure.EDK2Stable202502(),
	}, shapes)
}

// findQEMU returns the QEMU that --qemu names, or the one of the lock file.
func (f upFlags) findQEMU(ctx context.Context, note local.Note) (qemu.Binary, error) {
	if f.qemu != "" {
		return qemu.System(f.qemu)
	}
	locked, err := image.BaseLock()
	if err != nil {
		return qemu.Binary{}, err
	}
	cache, err := image.CacheDir()
	if err != nil {
		return qemu.Binary{}, err
	}
	packages, err := image.OpenPool(cache, aptFolder, os.Getenv(archive.MirrorsVariable), f.mirrors, note)
	if err != nil {
		return qemu.Binary{}, err
	}
	set, err := tools.Open(ctx, locked, packages, cache)
	if err != nil {
		return qemu.Binary{}, err
	}
	command := set.Command(ctx, "qemu-system-x86_64")
	return qemu.Binary{Argv: command.Args, Env: command.Env}, nil
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

// noteReporter shows the steps of a build as notes of one step of up.
type noteReporter func(format string, args ...any)

// Started implements step.Reporter.
func (n noteReporter) Started(name string) { n("%s", name) }

// Finished implements step.Reporter.
func (n noteReporter) Finished(step.Result) {}
