package measure

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// The registers by what is in them (edk2 SecurityPkg TdxMeasurementLib maps
// PCR 1 and 7, 2 to 6, 8 to 15 to them).
const (
	platformRegister = 0
	kernelRegister   = 1
	linuxRegister    = 2
)

// Types of the events in the firmware's log (TCG PC Client Platform Firmware
// Profile 1.06, table 27).
const (
	typeSeparator       uint32 = 0x4
	typeTag             uint32 = 0x6
	typePlatformConfig  uint32 = 0xa
	typeVariableDriver  uint32 = 0x80000001
	typeVariableBoot    uint32 = 0x80000002
	typeBootApplication uint32 = 0x80000003
	typeAction          uint32 = 0x80000007
	typeHandoffTables   uint32 = 0x80000009
	typeFirmwareBlob2   uint32 = 0x8000000a
	typeHandoffTables2  uint32 = 0x8000000b
)

// Entry is one predicted event, and how the machine logs it.
type Entry struct {
	vm.Event        // its Payload says for people what is measured
	Type     uint32 // TCG's
	Data     []byte // what the log says about it; only of some types what is measured
}

// Log is what a machine measures into RTMR0 to RTMR2, in the machine's order.
type Log []Entry

// Events returns the log without what only the firmware's format has.
func (l Log) Events() []vm.Event {
	out := make([]vm.Event, len(l))
	for i, e := range l {
		out[i] = e.Event
	}
	return out
}

// add appends an event whose measured bytes are known.
func (l *Log) add(register int, name string, measured []byte, kind uint32, data []byte, format string, args ...any) {
	l.addDigest(register, name, sha512.Sum384(measured), kind, data, format, args...)
}

func (l *Log) addDigest(register int, name string, digest vm.Register, kind uint32, data []byte, format string, args ...any) {
	*l = append(*l, Entry{
		Event: vm.Event{Register: register, Name: name, Payload: fmt.Appendf(nil, format, args...), Digest: digest},
		Type:  kind, Data: data,
	})
}

// platform is what the firmware measures of the machine before any option is
// booted: hand-off block, variable store, fw_cfg items, secure boot, ACPI tables.
func (l *Log) platform(p Profile, image *ovmf.Image, store vm.Register, hob []byte, acpi ACPI) {
	l.add(platformRegister, "td-hob", hob, typeHandoffTables2, handoffTable(image.Section(ovmf.TDHOB).Address),
		"memory map from the VMM, %d bytes", len(hob))
	cfv := image.Section(ovmf.CFV)
	l.addDigest(platformRegister, "cfv", store, typeFirmwareBlob2, firmwareVolume(cfv.Address, cfv.Size),
		"variable store of the firmware, %d bytes", cfv.Size)
	for _, item := range p.Items {
		l.add(platformRegister, item.Name, item.Content, typePlatformConfig, []byte(item.Name), "fw_cfg item, %d bytes", len(item.Content))
	}
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
		data := efi.VariableData(v.vendor, v.name, nil)
		l.add(platformRegister, v.name, data, typeVariableDriver, data, "secure-boot variable, absent")
	}
	l.separator(platformRegister, "end of the platform's configuration")
	for _, f := range []struct {
		name   string
		digest vm.Register
	}{{"etc/table-loader", acpi.Loader}, {"etc/acpi/rsdp", acpi.RSDP}, {"etc/acpi/tables", acpi.Tables}} {
		l.addDigest(platformRegister, f.name, f.digest, typePlatformConfig, []byte("ACPI DATA"), "ACPI tables as downloaded from fw_cfg")
	}
}

// bootOptions are measured as the variables' data alone, and logged whole.
func (l *Log) bootOptions(p Profile) {
	if len(p.BootOptions) == 0 { // TdTcg2Dxe measures no variable that is not there
		return
	}
	var order []byte
	for i := range p.BootOptions {
		order = binary.LittleEndian.AppendUint16(order, uint16(i))
	}
	variable := func(name string, data []byte, format string, args ...any) {
		l.add(platformRegister, name, data, typeVariableBoot, efi.VariableData(efi.GlobalVariable, name, data), format, args...)
	}
	variable("BootOrder", order, "%d boot options", len(p.BootOptions))
	for i, option := range p.BootOptions {
		variable(fmt.Sprintf("Boot%04X", i), option.Encode(), "%s", option.Description)
	}
}

// kernel is the file itself. It comes before the boot options: OVMF loads it
// before it signals ReadyToBoot.
func (l *Log) kernel(digest vm.Register, size int) {
	l.addDigest(kernelRegister, "kernel", digest, typeBootApplication, loadedImage(size), "Authenticode digest, %d bytes", size)
}

// ready is what the firmware says before it starts the kernel.
func (l *Log) ready(p Profile) {
	l.action("Calling EFI Application from Boot Option")
	l.separator(p.ReadyToBoot, "ready to boot")
}

// linux is what the kernel's EFI stub measures (Linux 6.9 and later).
func (l *Log) linux(options vm.Register, optionsSize int, initrd *vm.Register, initrdSize int) {
	l.addDigest(linuxRegister, "command-line", options, typeTag, tag(tagLoadOptions, "LOADED_IMAGE::LoadOptions"),
		"load options in UTF-16, %d bytes", optionsSize)
	if initrd != nil {
		l.addDigest(linuxRegister, "initrd", *initrd, typeTag, tag(tagInitrd, "Linux initrd"), "%d bytes", initrdSize)
	}
}

// exit is what the firmware measures when the kernel takes over.
func (l *Log) exit() {
	l.action("Exit Boot Services Invocation")
	l.action("Exit Boot Services Returned with Success")
}

// action is EV_EFI_ACTION: the ASCII text without NUL.
func (l *Log) action(text string) {
	l.add(kernelRegister, "action", []byte(text), typeAction, []byte(text), "%s", text)
}

// separator is EV_SEPARATOR: four zero bytes.
func (l *Log) separator(register int, remark string) {
	l.add(register, "separator", make([]byte, 4), typeSeparator, make([]byte, 4), "%s", remark)
}
