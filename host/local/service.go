package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// image is an image folder with what its files will measure.
type image struct {
	folder     string
	manifest   vm.Manifest
	prediction vm.Prediction
}

// openImage reads the manifest and predicts the launch from the very files that
// QEMU is given.
func openImage(folder string, shape vm.Shape) (image, error) {
	im := image{folder: folder}
	text, err := os.ReadFile(filepath.Join(folder, vm.ManifestName))
	if err != nil {
		return im, fmt.Errorf("read image: %w", err)
	}
	if im.manifest, err = vm.ParseManifest(text); err != nil {
		return im, fmt.Errorf("read image in %s: %w", folder, err)
	}
	in := measure.Input{CommandLine: im.manifest.CommandLine, Shape: shape, Profile: measure.EDK2Stable202502()}
	for _, f := range []struct {
		into *[]byte
		from vm.File
	}{{&in.Firmware, im.manifest.Firmware}, {&in.Kernel, im.manifest.Kernel}, {&in.Initrd, im.manifest.Initramfs}} {
		if *f.into, err = os.ReadFile(filepath.Join(folder, f.from.Name)); err != nil {
			return im, fmt.Errorf("read image: %w", err)
		}
		if got := vm.HashOf(*f.into); got != f.from.SHA256 {
			return im, fmt.Errorf("read image in %s: %s has SHA-256 %s, its manifest says %s (build the image again)", folder, f.from.Name, got, f.from.SHA256)
		}
	}
	_, im.prediction, err = measure.Predict(in)
	return im, err
}

// registration is an image as the KMS registers it: the registers of a machine
// that runs it under the template of its config.
type registration struct {
	MRTD        vm.Register `json:"mrtd"`
	RTMR0       vm.Register `json:"rtmr0"`
	RTMR1       vm.Register `json:"rtmr1"`
	RTMR2       vm.Register `json:"rtmr2"`
	RTMR3       vm.Register `json:"rtmr3"`
	Description string      `json:"description"`
	RootHash    vm.Hash     `json:"root_hash"`
	Template    vm.Config   `json:"template"`
}

func (im image) register(cfg vm.Config) (registration, error) {
	template := cfg.Template()
	events, err := vm.BootEvents(im.manifest.Verity.RootHash, template)
	if err != nil {
		return registration{}, err
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return registration{}, err
	}
	p := im.prediction
	return registration{
		MRTD: p.MRTD, RTMR0: p.RTMR0, RTMR1: p.RTMR1, RTMR2: p.RTMR2, RTMR3: rtmr[vm.RuntimeRegister],
		Description: fmt.Sprintf("%s %s, %d vCPU, %d MiB, compose %.12s", im.manifest.Name, im.manifest.Release, p.Shape.CPUs, p.Shape.Memory>>20, cfg.ComposeHash),
		RootHash:    im.manifest.Verity.RootHash, Template: template,
	}, nil
}

// launched returns the registers as a launch of the image under cfg leaves them.
func (im image) launched(cfg vm.Config) (vm.Measurement, error) {
	id, err := cfg.ConfigID()
	p := im.prediction
	return vm.Measurement{MRTD: p.MRTD, RTMR: [4]vm.Register{p.RTMR0, p.RTMR1, p.RTMR2}, MRConfigID: id}, err
}

// chainService is a service as the KMS shows it.
type chainService struct {
	ID     string       `json:"id"`
	Images []chainImage `json:"images"`
}

type chainImage struct {
	MRTD  vm.Register `json:"mrtd"`
	RTMR0 vm.Register `json:"rtmr0"`
	RTMR1 vm.Register `json:"rtmr1"`
	RTMR2 vm.Register `json:"rtmr2"`
	RTMR3 vm.Register `json:"rtmr3"`
}

func (s chainService) has(r registration) bool {
	for _, i := range s.Images {
		if i == (chainImage{r.MRTD, r.RTMR0, r.RTMR1, r.RTMR2, r.RTMR3}) {
			return true
		}
	}
	return false
}

// ensureService returns the owner's service, which is created unless it exists.
func (k *kms) ensureService(ctx context.Context, name string) (s chainService, created bool, err error) {
	err = k.run(ctx, &s, "query", "kms", "service", name)
	if vm.CodeOf(err) != vm.CodeNoService {
		return s, false, err
	}
	var made struct {
		Service string `json:"service"`
	}
	err = k.run(ctx, &made, "tx", "kms", "create-service", name)
	return chainService{ID: made.Service}, true, err
}

// ensureImage registers r with the service unless the chain has it. The file
// that is registered is kept beside the machine, for the owner to read.
func (k *kms) ensureImage(ctx context.Context, s chainService, r registration, file string) (added bool, err error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encode image registration: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return false, fmt.Errorf("write image registration: %w", err)
	}
	if s.has(r) {
		return false, nil
	}
	err = k.run(ctx, nil, "tx", "kms", "add-image", s.ID, "--image", file)
	if vm.CodeOf(err) == vm.CodeExists {
		return false, nil
	}
	return true, err
}

// archive makes the bytes of the config disk.
func archive(w *compose.Workload, cfg vm.Config, hints compose.Hints) ([]byte, error) {
	canonical, err := cfg.Canonical()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = compose.Archive{Config: canonical, Compose: w.Compose, Files: w.Files, Hints: hints}.WriteTo(&out)
	return out.Bytes(), err
}
