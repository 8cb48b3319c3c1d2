package qemu

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Names that arguments of confidential machines use among themselves.
const (
	tdxObject = "tdx0"
	snpObject = "snp0"
	memory    = "ram" // back end of the memory of SNP machines
)

// Where Intel's quote generation service (QGS) listens on a host: QEMU takes the
// guest's report there. CID 2 is the host itself; port 4050 is the service's
// default (/etc/qgs.conf).
const (
	QGSCID  = "2"
	QGSPort = "4050"
)

// SNPModel is the processor of SNP machines. The launch digest has the model's
// signature in it, so it is the same on all hosts, and what EPYC 7003 and later
// all have.
const SNPModel = "EPYC-v4"

// SNPPolicy is the guest policy of SNP machines (SEV-SNP firmware ABI 1.58, 4.3):
// bit 17, which must be set, and bit 16, which allows simultaneous
// multithreading. No debugging, no migration.
const SNPPolicy = 1<<17 | 1<<16

// Encryption is what a host's processor says about the memory encryption of SNP
// machines (CPUID 0x8000001f, EBX). It is not measured; QEMU refuses another
// host's position of the bit.
type Encryption struct {
	CBit        int // position of the bit of an address that means encrypted
	ReducedBits int // address bits that the guest has fewer: 1 for guests, whatever the host loses
}

func (e Encryption) check() error {
	if e.CBit < 32 || e.CBit > 63 || e.ReducedBits < 1 || e.ReducedBits > 63 {
		return fmt.Errorf("machine arguments: memory encryption bit %d, %d address bits fewer, want what an AMD processor with SEV-SNP says (secretvm host doctor --tee %s)", e.CBit, e.ReducedBits, vm.SNP)
	}
	return nil
}

// board is the value of -machine, and the objects that it names which follow
// from the shape.
func board(tee vm.TEE, shape vm.Shape) (board string, objects []string, err error) {
	switch tee {
	case vm.Soft:
		return "q35", nil, nil
	case vm.TDX:
		// The TDX module has the interrupt controller of the processor, QEMU the
		// other one. Private memory is a guest_memfd, which QEMU makes by itself.
		return "q35,confidential-guest-support=" + tdxObject + ",kernel-irqchip=split", nil, nil
	case vm.SNP:
		// Memory that the guest shares is given back page by page, which a shared
		// memfd does; private memory is a guest_memfd, which QEMU makes by itself.
		// The port of VMware is of no use to a guest that trusts no host.
		object := encodeObject(map[string]any{
			"qom-type": "memory-backend-memfd", "id": memory, "size": shape.Memory, "share": true, "prealloc": false,
		})
		return "q35,confidential-guest-support=" + snpObject + ",vmport=off,memory-backend=" + memory, []string{"-object", object}, nil
	}
	return "", nil, fmt.Errorf("machine arguments for TEE %q are not known, want %s, %s or %s", tee, vm.Soft, vm.TDX, vm.SNP)
}

// guard is the object that makes the machine confidential, with the digest of
// its config: what the TDX module or AMD's firmware binds at launch.
func (m Machine) guard() (string, error) {
	if m.TEE == vm.TDX {
		return encodeObject(map[string]any{
			"qom-type": "tdx-guest", "id": tdxObject,
			"sept-ve-disable":         true, // an unaccepted page must not become an exception of the guest; verifiers want it
			"mrconfigid":              base64.StdEncoding.EncodeToString(m.ConfigID[:]),
			"quote-generation-socket": map[string]string{"type": "vsock", "cid": QGSCID, "port": QGSPort},
		}), nil
	}
	if err := m.Encryption.check(); err != nil {
		return "", err
	}
	// HOST_DATA has 32 bytes: the digest itself, without MR_CONFIG_ID's padding.
	if tail := [16]byte(m.ConfigID[32:]); tail != [16]byte{} {
		return "", fmt.Errorf("machine arguments: the config's digest has more than the 32 bytes of HOST_DATA: %s", m.ConfigID)
	}
	return encodeObject(map[string]any{
		"qom-type": "sev-snp-guest", "id": snpObject, "policy": SNPPolicy,
		"kernel-hashes": true, // the launch digest has kernel, initramfs and command line in it
		"host-data":     base64.StdEncoding.EncodeToString(m.ConfigID[:32]),
		"cbitpos":       m.Encryption.CBit, "reduced-phys-bits": m.Encryption.ReducedBits,
	}), nil
}

// encodeObject is QEMU's JSON form of -object, with the keys in alphabetical order.
func encodeObject(properties map[string]any) string {
	out, _ := json.Marshal(properties) // strings, numbers and booleans always encode
	return string(out)
}
