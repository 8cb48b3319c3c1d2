package snp

import (
	"crypto/sha256"
	"errors"
	"hash"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// PredictSEV computes the launch digest of the first SEV: SHA-256 over the
// image and the table of hashes (nil: launched without kernel-hashes=on).
func PredictSEV(image []byte, hashes *Hashes) (vm.Hash, error) {
	h, _, err := older(image, hashes)
	if err != nil {
		return vm.Hash{}, err
	}
	return vm.Hash(h.Sum(nil)), nil
}

// PredictSEVES computes the launch digest of SEV-ES: as SEV, and the save area
// of each CPU. Firmware and Features of the launch are not looked at.
func PredictSEVES(image []byte, l Launch) (vm.Hash, error) {
	h, sev, err := older(image, l.Hashes)
	if err != nil {
		return vm.Hash{}, err
	}
	boot, others := l.at(bootEIP), l.at(sev.ResetEIP)
	boot.features, others.features = 0, 0
	h.Write(boot.vmsa())
	for range min(l.CPUs, maxCPUs) - 1 {
		h.Write(others.vmsa())
	}
	return vm.Hash(h.Sum(nil)), nil
}

func older(image []byte, hashes *Hashes) (hash.Hash, ovmf.SEV, error) {
	sev, err := ovmf.ParseSEV(image)
	if err != nil {
		return nil, sev, err
	}
	h := sha256.New()
	h.Write(image)
	if hashes != nil {
		if sev.HashTable == 0 {
			return nil, sev, errors.New("the firmware takes no hashes of kernel, initrd and command line")
		}
		h.Write(hashes.table())
	}
	return h, sev, nil
}
