package main

import (
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// snpMeasured is the launch digest of an SEV-SNP machine. It depends on the
// number of vCPUs and not on memory.
type snpMeasured struct {
	CPUs      int         `json:"cpus"`
	Model     string      `json:"cpu_model"`
	Digest    vm.Register `json:"digest"`              // MEASUREMENT in reports
	DebugSwap vm.Register `json:"digest_debug_swap"`   // on hosts whose kernel lets guests swap debug registers (SEV_FEATURES 0x21)
	HostData  *vm.Hash    `json:"host_data,omitempty"` // with --config
}

// snpLaunch is what all launches of an image under one firmware share.
type snpLaunch struct {
	firmware vm.Hash
	launch   snp.Launch
}

// maxFirmwareFile bounds what is read of a firmware, in bytes.
const maxFirmwareFile = 64 << 20

// withSNPFile is withSNP with any file.
func (im measuredImage) withSNPFile(path string) (*snpLaunch, error) {
	image, err := readAtMost(path, maxFirmwareFile)
	if err != nil {
		return nil, fmt.Errorf("read firmware: %w", err)
	}
	l, err := im.withSNP(image)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// withSNP prepares launches of the image under a firmware.
func (im measuredImage) withSNP(image []byte) (*snpLaunch, error) {
	firmware, err := snp.ParseFirmware(image)
	if err != nil {
		return nil, err
	}
	signature, err := snp.Signature(qemu.SNPModel)
	if err != nil {
		return nil, err
	}
	hashes := snp.HashFiles(im.input.Kernel, im.input.Initrd, im.input.CommandLine)
	return &snpLaunch{vm.HashOf(image), snp.Launch{Firmware: firmware, CPU: signature, Hashes: &hashes}}, nil
}

func (l *snpLaunch) predict(cpus int) (m snpMeasured, err error) {
	m.CPUs, m.Model = cpus, qemu.SNPModel
	launch := l.launch
	launch.CPUs = cpus
	for _, v := range []struct {
		features uint64
		to       *vm.Register
	}{{snp.SNPActive, &m.Digest}, {snp.SNPActive | snp.DebugSwap, &m.DebugSwap}} {
		launch.Features = v.features
		if *v.to, err = snp.Predict(launch); err != nil {
			return m, err
		}
	}
	return m, nil
}

// record is what --all-shapes says of SEV-SNP.
func (l *snpLaunch) record(shapes []vm.Shape) (*measure.SNPRecord, error) {
	var cpus []int
	for _, s := range shapes {
		if !slices.Contains(cpus, s.CPUs) {
			cpus = append(cpus, s.CPUs)
		}
	}
	return measure.PredictSNP(l.launch, l.firmware, qemu.SNPModel, cpus)
}
