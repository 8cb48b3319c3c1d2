package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// measuredImage is an image's manifest with its measured files.
type measuredImage struct {
	manifest vm.Manifest
	input    measure.Input
	tables   func(vm.Shape) (measure.ACPI, error) // nil: those of the locked QEMU
	snp      *snpLaunch                           // nil: there is no firmware for SEV-SNP
}

// openMeasured reads the manifest at path, or in the folder at path, and the
// files that it names.
func openMeasured(path string) (im measuredImage, err error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, vm.ManifestName)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return im, fmt.Errorf("read manifest: %w", err)
	}
	if im.manifest, err = vm.ParseManifest(raw); err != nil {
		return im, fmt.Errorf("%s: %w", path, err)
	}
	im.input = measure.Input{CommandLine: im.manifest.CommandLine, Profile: firmware.Profile(im.manifest.Firmware.SHA256)}
	for _, f := range []struct {
		file vm.File
		to   *[]byte
	}{{im.manifest.Firmware, &im.input.Firmware}, {im.manifest.Kernel, &im.input.Kernel}, {im.manifest.Initramfs, &im.input.Initrd}} {
		if *f.to, err = readArtifact(filepath.Dir(path), f.file); err != nil {
			return im, err
		}
	}
	if f := im.manifest.SNPFirmware; f != nil {
		content, err := readArtifact(filepath.Dir(path), *f)
		if err != nil {
			return im, err
		}
		if im.snp, err = im.withSNP(content); err != nil {
			return im, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return im, nil
}

// measureImage recomputes every prediction of the manifest at path.
func measureImage(path string) ([]measured, error) {
	im, err := openMeasured(path)
	if err != nil {
		return nil, err
	}
	return im.predict(nil, nil)
}

// predict predicts the given shapes, or those of the manifest. A config adds
// what the workload measures.
func (im measuredImage) predict(shapes []vm.Shape, config *vm.Config) ([]measured, error) {
	if len(shapes) == 0 {
		for _, p := range im.manifest.Predictions {
			shapes = append(shapes, p.Shape)
		}
	}
	if len(shapes) == 0 {
		return nil, errors.New("the manifest holds no predictions: rebuild the image with secretvm image build, or name a --shape")
	}
	logs, predictions, err := im.logs(shapes)
	if err != nil {
		return nil, err
	}
	_, twoPass, err := measure.MRTDs(im.input.Firmware)
	if err != nil {
		return nil, err
	}
	var results []measured
	for n, s := range shapes {
		found := predictions[n]
		r := measured{Prediction: found, MRTDTwoPass: twoPass, Events: logs[n].Events()}
		if i := slices.IndexFunc(im.manifest.Predictions, func(p vm.Prediction) bool { return p.Shape == s }); i >= 0 {
			r.Differences = measure.Differences(im.manifest.Predictions[i], found)
		}
		if im.snp != nil {
			m, err := im.snp.predict(s.CPUs)
			if err != nil {
				return nil, err
			}
			r.SNP = &m
		}
		if config != nil {
			if err := r.add(im.manifest.Verity.RootHash, *config); err != nil {
				return nil, err
			}
		}
		results = append(results, r)
	}
	return results, nil
}

// logs predicts with the tables of the locked QEMU, or of the one that is asked.
func (im measuredImage) logs(shapes []vm.Shape) (logs []measure.Log, predictions []vm.Prediction, err error) {
	if im.tables == nil {
		return measure.PredictLogs(im.input, shapes)
	}
	for _, s := range shapes {
		acpi, err := im.tables(s)
		if err != nil {
			return nil, nil, err
		}
		im.input.Shape, im.input.ACPI = s, &acpi
		log, p, err := measure.PredictLog(im.input)
		if err != nil {
			return nil, nil, err
		}
		logs, predictions = append(logs, log), append(predictions, p)
	}
	return logs, predictions, nil
}

// add adds what the workload measures.
func (r *measured) add(root vm.Hash, config vm.Config) error {
	events, err := vm.BootEvents(root, config)
	if err != nil {
		return fmt.Errorf("predict RTMR3: %w", err)
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		return fmt.Errorf("predict RTMR3: %w", err)
	}
	id, err := config.ConfigID()
	if err != nil {
		return fmt.Errorf("predict MR_CONFIG_ID: %w", err)
	}
	if r.SNP != nil {
		digest, err := config.Digest()
		if err != nil {
			return fmt.Errorf("predict HOST_DATA: %w", err)
		}
		r.SNP.HostData = &digest
	}
	r.RTMR3, r.ConfigID, r.Events = &rtmr[vm.RuntimeRegister], &id, append(r.Events, events...)
	return nil
}
