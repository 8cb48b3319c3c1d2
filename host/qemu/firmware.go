package qemu

import (
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// Verifying lists the SHA-256 of firmware for SNP machines that was seen to refuse
// another kernel, initramfs or command line than those of its table of hashes.
// Tested is without SEV, with the table planted (docs/firmware.md).
var Verifying = []vm.Hash{
	// secretvm-snp.fd, as image/firmware builds it.
	{
		0x7a, 0xf1, 0xe0, 0x2f, 0x75, 0x6a, 0x02, 0xe9, 0xba, 0x1e, 0x52, 0x3e, 0xc3, 0x09, 0x53, 0xdc,
		0x8b, 0x90, 0x0f, 0x74, 0xff, 0x4d, 0x06, 0xd8, 0x1c, 0x7c, 0x80, 0x8f, 0xfd, 0xf4, 0x33, 0xb5,
	},
}

// CheckFirmware refuses a firmware image that a machine in tee must not be
// started with.
//
// On TDX the firmware measures what it loads; it must say where its parts go.
// On SNP it must compare kernel, initramfs and command line with the table of
// hashes that is in the launch digest. An image shows whether it has a place for
// the table, and never whether it looks into it: generic OVMF has had the place
// since edk2-stable202511 and accepts everything. So only images that somebody
// has tested are taken: verifying lists their SHA-256.
func CheckFirmware(tee vm.TEE, image []byte, verifying []vm.Hash) error {
	switch tee {
	case vm.Soft:
		return nil
	case vm.TDX:
		if _, err := ovmf.Parse(image); err != nil {
			return fmt.Errorf("the firmware cannot be launched on TDX: %w", err)
		}
		return nil
	case vm.SNP:
		return checkSNPFirmware(image, verifying)
	}
	return fmt.Errorf("no firmware is known for TEE %q", tee)
}

func checkSNPFirmware(image []byte, verifying []vm.Hash) error {
	firmware, err := snp.ParseFirmware(image)
	if err != nil {
		return fmt.Errorf("the firmware cannot be launched on SEV-SNP: %w", err)
	}
	hashes := snp.HashFiles(nil, nil, "")
	if _, err := snp.Predict(snp.Launch{Firmware: firmware, Hashes: &hashes, CPUs: 1}); err != nil {
		return vm.Refuse(vm.CodeImage, "on SEV-SNP this firmware would boot whatever the host hands it (%v)", err).
			On("firmware SHA-256", vm.HashOf(image).String(), "one with a table of hashes").
			Try("Debian's OVMF.fd does not check what it boots: use an image with our firmware for it (secretvm image build --firmware own)")
	}
	if digest := vm.HashOf(image); !slices.Contains(verifying, digest) {
		return vm.Refuse(vm.CodeImage, "nobody has shown that this firmware checks what it boots: it has a table of hashes, and generic OVMF has one too and never looks into it").
			On("firmware SHA-256", digest.String(), fmt.Sprintf("one of %d that were tested", len(verifying))).
			Try("use the SNP firmware of this release, or one whose verifier you have tested")
	}
	return nil
}
