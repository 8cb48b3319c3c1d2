package qemu

import (
	"errors"

	"github.com/klauspost/cpuid/v2"
)

// HostEncryption returns what this computer's processor says about memory
// encryption, for Machine.Encryption.
func HostEncryption() (Encryption, error) {
	amd := cpuid.CPU.AMDMemEncryption
	if !amd.Available {
		return Encryption{}, errors.New("this processor does not encrypt the memory of machines as AMD's do (CPUID 0x8000001f)")
	}
	return Encryption{CBit: int(amd.CBitPossition), ReducedBits: 1}, nil
}
