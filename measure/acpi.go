package measure

import (
	"crypto/sha512"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// ACPI holds the SHA-384 digests of the three fw_cfg files that make up the
// ACPI tables of one shape, as the firmware downloads them.
type ACPI struct {
	Loader vm.Register // etc/table-loader
	RSDP   vm.Register // etc/acpi/rsdp
	Tables vm.Register // etc/acpi/tables
}

// PlaceholderACPI stands in for tables that are not predicted yet. Its digests
// have a preimage that says so and differ from shape to shape, as the real ones
// do. A machine with the soft TEE starts from the prediction and therefore
// agrees with it; RTMR0 of real hardware does not, so that a service refuses
// such a machine until the tables are predicted. It fails closed.
func PlaceholderACPI(s vm.Shape) ACPI {
	digest := func(file string) vm.Register {
		return sha512.Sum384(fmt.Appendf(nil, "secretvm/v1/acpi-not-predicted %s cpus=%d memory=%d", file, s.CPUs, s.Memory))
	}
	return ACPI{digest("etc/table-loader"), digest("etc/acpi/rsdp"), digest("etc/acpi/tables")}
}
