package measure

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
	"github.com/secretvm/secretvm/vm"
)

// The registers by what is in them (edk2 SecurityPkg TdxMeasurementLib maps
// PCR 1 and 7, 2 to 6, 8 to 15 to them).
const (
	platformRegister = 0
	kernelRegister   = 1
	linuxRegister    = 2
)

// eventList grows by events in the order of the machine.
type eventList []vm.Event

func (l *eventList) add(register int, name string, measured []byte, format string, args ...any) {
	l.addDigest(register, name, sha512.Sum384(measured), format, args...)
}

func (l *eventList) addDigest(register int, name string, digest vm.Register, format string, args ...any) {
	*l = append(*l, vm.Event{Register: register, Name: name, Payload: fmt.Appendf(nil, format, args...), Digest: digest})
}

// platform is what the firmware measures of the machine before any option is
// booted: hand-off block, variable store, secure boot, ACPI tables.
func (l *eventList) platform(hob, cfv []byte, acpi ACPI) {
	l.add(platformRegister, "td-hob", hob, "memory map from the VMM, %d bytes", len(hob))
	l.add(platformRegister, "cfv", cfv, "variable store of the firmware, %d bytes", len(cfv))
	for _, v := range []struct {
		vendor efi.GUID
		name   string
	}{
		{efi.GlobalVariable, "SecureBoot"},
		{efi.GlobalVariable, "PK"},
		{efi.GlobalVariable, "KEK"},
		{efi.SecurityDatabase, "db"},
		{efi.SecurityDatabase, "dbx"},
	} {
		l.add(platformRegister, v.name, efi.VariableData(v.vendor, v.name, nil), "secure-boot variable, absent")
	}
	l.separator(platformRegister, "end of the platform's configuration")
	const remark = "ACPI tables as downloaded from fw_cfg"
	l.addDigest(platformRegister, "etc/table-loader", acpi.Loader, "%s", remark)
	l.addDigest(platformRegister, "etc/acpi/rsdp", acpi.RSDP, "%s", remark)
	l.addDigest(platformRegister, "etc/acpi/tables", acpi.Tables, "%s", remark)
}

// bootOptions are measured as the variables' data alone.
func (l *eventList) bootOptions(p Profile) {
	var order []byte
	for i := range p.BootOptions {
		order = binary.LittleEndian.AppendUint16(order, uint16(i))
	}
	l.add(platformRegister, "BootOrder", order, "%d boot options", len(p.BootOptions))
	for i, option := range p.BootOptions {
		l.add(platformRegister, fmt.Sprintf("Boot%04X", i), option.Encode(), "%s", option.Description)
	}
	if p.ReadyToBoot == platformRegister {
		l.separator(platformRegister, "ready to boot")
	}
}

// kernel is what the firmware measures of the kernel and of its own hand-over.
// The kernel comes first: OVMF loads it before it signals ReadyToBoot.
func (l *eventList) kernel(p Profile, digest vm.Register, size int) {
	l.addDigest(kernelRegister, "kernel", digest, "Authenticode digest, %d bytes", size)
	l.action("Calling EFI Application from Boot Option")
	if p.ReadyToBoot == kernelRegister {
		l.separator(kernelRegister, "ready to boot")
	}
	l.action("Exit Boot Services Invocation")
	l.action("Exit Boot Services Returned with Success")
}

// linux is what the kernel's EFI stub measures (Linux 6.9 and later).
func (l *eventList) linux(options, initrd []byte) {
	l.add(linuxRegister, "command-line", options, "load options in UTF-16, %d bytes", len(options))
	if len(initrd) > 0 {
		l.add(linuxRegister, "initrd", initrd, "%d bytes", len(initrd))
	}
}

// action is EV_EFI_ACTION: the ASCII text without NUL.
func (l *eventList) action(text string) {
	l.add(kernelRegister, "action", []byte(text), "%s", text)
}

// separator is EV_SEPARATOR: four zero bytes.
func (l *eventList) separator(register int, remark string) {
	l.add(register, "separator", make([]byte, 4), "%s", remark)
}
