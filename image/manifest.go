package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/image/initramfs"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// initramfsArchive is the uncompressed initramfs.
func (b *build) initramfsArchive() ([]byte, error) {
	modules, err := b.modules.Resolve(b.Source.Spec.Initramfs.Modules, nil)
	if err != nil {
		return nil, err
	}
	files := map[string]initramfs.File{"init": {Mode: 0o755, Content: b.guestInit}}
	var list strings.Builder
	for _, m := range modules {
		files[moduleFile(m)] = initramfs.File{Mode: 0o644, Content: m.Content}
		fmt.Fprintf(&list, "/%s\n", moduleFile(m))
	}
	files["modules.list"] = initramfs.File{Mode: 0o644, Content: []byte(list.String())}
	folders := []string{"dev", "proc", "sys", "run", "tmp", "sysroot"}
	return initramfs.Build(files, folders, uint64(b.Source.Spec.Epoch))
}

// writeManifest writes the remaining files and the manifest, and moves the
// image to where it belongs. A cached image only gets fresh predictions.
func (b *build) writeManifest(context.Context) (string, error) {
	if b.cached {
		if err := b.loadForPrediction(); err != nil {
			return "", err
		}
	} else if err := b.describe(); err != nil {
		return "", err
	}
	if err := b.checkSNP(); err != nil {
		return "", err
	}
	before, err := b.manifest.Encode()
	if err != nil {
		return "", err
	}
	b.manifest.Predictions, err = measure.PredictShapes(measure.Input{
		Firmware: b.firmware, Kernel: b.kernel, Initrd: b.initramfs, CommandLine: b.manifest.CommandLine,
		Profile: firmware.Profile(vm.HashOf(b.firmware)),
	}, measure.Shapes())
	if err != nil {
		return "", fmt.Errorf("predict registers: %w", err)
	}
	after, err := b.manifest.Encode()
	if err != nil {
		return "", err
	}
	if !b.cached || !bytes.Equal(before, after) {
		if err := writeFile(filepath.Join(b.dir, vm.ManifestName), after); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("registers of %d shapes", len(b.manifest.Predictions)), b.place()
}

// checkSNP refuses firmware for SNP machines whose launch cannot be predicted, as
// without a place for the hashes of what it boots.
func (b *build) checkSNP() error {
	if b.SNP == nil {
		return nil
	}
	parsed, err := snp.ParseFirmware(b.SNP)
	if err != nil {
		return err
	}
	hashes := snp.HashFiles(b.kernel, b.initramfs, b.manifest.CommandLine)
	_, err = snp.Predict(snp.Launch{Firmware: parsed, Hashes: &hashes, CPUs: vm.MaxCPUs})
	return err
}

// describe writes firmware, kernel and initramfs and fills the manifest.
func (b *build) describe() error {
	m := &b.manifest
	m.Version, m.Name, m.Release = 1, b.Source.Spec.Name, b.Source.Spec.Release
	kernelName := KernelName
	if b.Kernel != nil {
		kernelName = linux.File
	}
	for _, f := range []struct {
		to      *vm.File
		name    string
		content []byte
	}{{&m.Firmware, FirmwareName, b.firmware}, {&m.Kernel, kernelName, b.kernel}, {&m.Initramfs, initramfs.Name, b.initramfs}} {
		if err := writeFile(filepath.Join(b.dir, f.name), f.content); err != nil {
			return err
		}
		*f.to = vm.File{Name: f.name, Size: int64(len(f.content)), SHA256: vm.HashOf(f.content)}
	}
	if b.SNP != nil {
		platform, err := firmware.For(vm.SNP)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(b.dir, platform.File), b.SNP); err != nil {
			return err
		}
		m.SNPFirmware = &vm.File{Name: platform.File, Size: int64(len(b.SNP)), SHA256: vm.HashOf(b.SNP)}
	}
	var err error
	if m.Rootfs, err = describeFile(b.dir, RootfsName); err != nil {
		return err
	}
	packages, err := b.origins()
	for _, p := range packages {
		m.Packages = append(m.Packages, vm.PackageFile{Name: p.Name, Version: p.Version, SHA256: p.SHA256})
	}
	m.Packages = append(m.Packages, b.engine...)
	return err
}

// loadForPrediction reads the measured files of a cached image.
func (b *build) loadForPrediction() (err error) {
	for _, f := range []struct {
		to   *[]byte
		name string
	}{{&b.firmware, b.manifest.Firmware.Name}, {&b.kernel, b.manifest.Kernel.Name}, {&b.initramfs, b.manifest.Initramfs.Name}} {
		if *f.to, err = os.ReadFile(filepath.Join(b.dir, f.name)); err != nil {
			return err
		}
	}
	return nil
}

// place moves a new image to its folder, and copies to the output folder if
// that is another one. Copies, not links: whoever alters one has not altered the other.
func (b *build) place() error {
	if !b.cached {
		if err := os.RemoveAll(b.final); err != nil {
			return fmt.Errorf("replace image: %w", err)
		}
		if err := os.Rename(b.dir, b.final); err != nil {
			return fmt.Errorf("place image: %w", err)
		}
	}
	if b.Output == "" || b.Output == b.final {
		return nil
	}
	if err := os.MkdirAll(b.Output, 0o755); err != nil {
		return fmt.Errorf("make output folder: %w", err)
	}
	for _, name := range imageFiles(b.manifest) {
		if err := copyFile(filepath.Join(b.final, name), filepath.Join(b.Output, name)); err != nil {
			return fmt.Errorf("copy image: %w", err)
		}
	}
	b.final = b.Output
	return nil
}

// imageFiles lists an image's files, the manifest last: where it is, all are.
func imageFiles(m vm.Manifest) []string {
	var names []string
	for _, f := range m.Files() {
		names = append(names, f.Name)
	}
	return append(names, vm.ManifestName)
}

// Verify reads the manifest of the image in dir and checks every file against it.
func Verify(dir string) (vm.Manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, vm.ManifestName))
	if err != nil {
		return vm.Manifest{}, fmt.Errorf("read image: %w", err)
	}
	m, err := vm.ParseManifest(text)
	if err != nil {
		return m, err
	}
	for _, want := range m.Files() {
		if filepath.Base(want.Name) != want.Name {
			return m, fmt.Errorf("image in %s: manifest names the file %q", dir, want.Name)
		}
		got, err := describeFile(dir, want.Name)
		if err != nil {
			return m, err
		}
		if got != want {
			return m, fmt.Errorf("image in %s: %s has SHA-256 %s, the manifest says %s", dir, want.Name, got.SHA256, want.SHA256)
		}
	}
	return m, nil
}

func describeFile(dir, name string) (vm.File, error) {
	out := vm.File{Name: name}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return out, err
	}
	defer f.Close()
	digest := sha256.New()
	out.Size, err = io.Copy(digest, f)
	digest.Sum(out.SHA256[:0])
	return out, err
}

func writeFile(name string, content []byte) error { return os.WriteFile(name, content, 0o644) }

// copyFile makes the copy appear whole or not at all.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to + ".new")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}
