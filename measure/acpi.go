package measure

import (
	"crypto/sha512"
	"sync"

	"github.com/secretvm/secretvm/measure/acpi"
	"github.com/secretvm/secretvm/vm"
)

// ACPI holds the SHA-384 digests of the three fw_cfg files that make up the
// ACPI tables of one shape, as the firmware downloads them.
type ACPI struct {
	Loader vm.Register // etc/table-loader
	RSDP   vm.Register // etc/acpi/rsdp
	Tables vm.Register // etc/acpi/tables
}

// PredictACPI returns the digests of the TDX machine of a shape under the locked
// QEMU and firmware.
func PredictACPI(s vm.Shape) (ACPI, error) {
	if err := s.Validate(); err != nil {
		return ACPI{}, err
	}
	key := vm.Shape{CPUs: s.CPUs, Memory: acpi.LowMemory(s.Memory), GPUs: s.GPUs}
	if known, is := knownACPI.Load(key); is {
		return known.(ACPI), nil //nolint:forcetypeassert // nothing else is stored
	}
	blobs, err := acpi.For(s)
	if err != nil {
		return ACPI{}, err
	}
	found := DigestACPI(blobs)
	knownACPI.Store(key, found)
	return found, nil
}

// knownACPI keeps digests by vCPUs, memory below 4 GiB and GPUs, on which alone they
// depend: records of a thousand shapes need a hundred.
var knownACPI sync.Map // vm.Shape → ACPI

// DigestACPI returns the digests of files that somebody else has.
func DigestACPI(b acpi.Blobs) ACPI {
	return ACPI{sha512.Sum384(b.Loader), sha512.Sum384(b.RSDP), sha512.Sum384(b.Tables)}
}
