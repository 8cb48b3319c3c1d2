package local

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// Image is an image folder with what its files will measure.
type Image struct {
	Folder     string
	Manifest   vm.Manifest
	Prediction vm.Prediction
	BootLog    []byte // as the firmware would write it (CCEL)
}

// OpenImage reads the manifest and predicts the launch from the very files that
// QEMU is given.
func OpenImage(folder string, shape vm.Shape) (Image, error) {
	im := Image{Folder: folder}
	text, err := os.ReadFile(filepath.Join(folder, vm.ManifestName))
	if err != nil {
		return im, fmt.Errorf("read image: %w", err)
	}
	if im.Manifest, err = vm.ParseManifest(text); err != nil {
		return im, fmt.Errorf("read image in %s: %w", folder, err)
	}
	in := measure.Input{CommandLine: im.Manifest.CommandLine, Shape: shape, Profile: firmware.Profile(im.Manifest.Firmware.SHA256)}
	for _, f := range []struct {
		into *[]byte
		from vm.File
	}{{&in.Firmware, im.Manifest.Firmware}, {&in.Kernel, im.Manifest.Kernel}, {&in.Initrd, im.Manifest.Initramfs}} {
		if *f.into, err = os.ReadFile(filepath.Join(folder, f.from.Name)); err != nil {
			return im, fmt.Errorf("read image: %w", err)
		}
		if got := vm.HashOf(*f.into); got != f.from.SHA256 {
			return im, fmt.Errorf("read image in %s: %s has SHA-256 %s, its manifest says %s (build the image again)", folder, f.from.Name, got, f.from.SHA256)
		}
	}
	log, prediction, err := measure.PredictLog(in)
	if err != nil {
		return im, err
	}
	im.Prediction, im.BootLog = prediction, log.CCEL()
	return im, im.checkPrediction()
}

// Registration is an image as the KMS registers it: the registers of a machine
// that runs it under the template of its config.
type Registration struct {
	MRTD        vm.Register `json:"mrtd"`
	RTMR0       vm.Register `json:"rtmr0"`
	RTMR1       vm.Register `json:"rtmr1"`
	RTMR2       vm.Register `json:"rtmr2"`
	RTMR3       vm.Register `json:"rtmr3"`
	Description string      `json:"description"`
	RootHash    vm.Hash     `json:"root_hash"`
	Template    vm.Config   `json:"template"`
}

// Register returns what an owner registers for machines that run the image under
// cfg, whatever their instance ids.
func (im Image) Register(cfg vm.Config) (Registration, error) {
	template := cfg.Template()
	events, err := vm.BootEvents(im.Manifest.Verity.RootHash, template)
	if err != nil {
		return Registration{}, err
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return Registration{}, err
	}
	p := im.Prediction
	return Registration{
		MRTD: p.MRTD, RTMR0: p.RTMR0, RTMR1: p.RTMR1, RTMR2: p.RTMR2, RTMR3: rtmr[vm.RuntimeRegister],
		Description: fmt.Sprintf("%s %s, %d vCPU, %d MiB, compose %.12s", im.Manifest.Name, im.Manifest.Release, p.Shape.CPUs, p.Shape.Memory>>20, cfg.ComposeHash),
		RootHash:    im.Manifest.Verity.RootHash, Template: template,
	}, nil
}

// Launched returns the registers as a launch of the image under cfg leaves them.
func (im Image) Launched(cfg vm.Config) (vm.Measurement, error) {
	id, err := cfg.ConfigID()
	p := im.Prediction
	return vm.Measurement{MRTD: p.MRTD, RTMR: [4]vm.Register{p.RTMR0, p.RTMR1, p.RTMR2}, MRConfigID: id}, err
}

// Archive makes the bytes of the config disk.
func Archive(w *compose.Workload, cfg vm.Config, hints configdisk.Hints) ([]byte, error) {
	canonical, err := cfg.Canonical()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = configdisk.Write(&out, configdisk.Archive{Config: canonical, Compose: w.Compose, Files: w.Files, Hints: hints})
	return out.Bytes(), err
}
