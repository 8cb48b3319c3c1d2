package eventlog

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Tags of Linux's EV_EVENT_TAG events (drivers/firmware/efi/libstub).
const (
	tagInitrd      = 0x8f3b22ec
	tagLoadOptions = 0x8f3b22ed
)

// Describe says what each event is about, for people, and whether its digest
// proves that.
func (l Log) Describe() []vm.BootEvent {
	out := make([]vm.BootEvent, 0, len(l))
	var names namer
	for _, e := range l {
		name, text, preimage := e.describe()
		out = append(out, vm.BootEvent{
			Register: e.Register, Type: e.Type.String(), Name: names.name(e, name), Description: text, Digest: e.Digest,
			Proven: e.Type == Runtime || preimage != nil && vm.Register(sha512.Sum384(preimage)) == e.Digest,
		})
	}
	return out
}

// Events returns the log in the form of predictions: names are those that
// package measure gives, payloads are descriptions. Runtime events keep their
// payload.
func (l Log) Events() []vm.Event {
	out := make([]vm.Event, 0, len(l))
	var names namer
	for _, e := range l {
		name, text, _ := e.describe()
		event := vm.Event{Register: e.Register, Name: names.name(e, name), Payload: []byte(text), Digest: e.Digest}
		if e.Type == Runtime {
			event.Payload = e.Data
		}
		out = append(out, event)
	}
	return out
}

// acpiNames are the fw_cfg files in the order in which OVMF downloads and
// measures them; its events call all of them "ACPI DATA".
var acpiNames = []string{"etc/table-loader", "etc/acpi/rsdp", "etc/acpi/tables"}

const acpiData = "ACPI DATA"

// namer completes names by an event's place in the log: per register, how many
// files from fw_cfg came before.
type namer [4]int

func (n *namer) name(e Event, name string) string {
	if name != acpiData || n[e.Register] >= len(acpiNames) {
		return name
	}
	n[e.Register]++
	return acpiNames[n[e.Register]-1]
}

// describe returns a name, a line for people, and the bytes whose digest the
// event should hold where the event carries them; nil where it does not.
func (e Event) describe() (name, line string, preimage []byte) {
	switch e.Type {
	case Runtime:
		return e.Name, short(e.Data), nil
	case Separator:
		return "separator", separatorMeaning(e.Data), e.Data
	case EFIAction, Action:
		return "action", text(e.Data), e.Data
	case VariableDriver, VariableAuthority, VariableBoot2:
		return e.describeVariable(e.Data)
	case VariableBoot: // OVMF measures the variable's data alone
		v, err := parseVariable(e.Data)
		if err != nil {
			return "variable", "unreadable: " + err.Error(), nil
		}
		return e.describeVariable(v.data)
	case BootApplication, BootDriver, RuntimeDriver:
		return e.describeImage()
	case EventTag:
		return e.describeTag()
	case IPL:
		return e.describeIPL()
	case HandoffTables2:
		return "td-hob", "memory map from the VMM (" + text(prefixed(e.Data)) + ")", nil
	case HandoffTables:
		return "handoff-tables", "configuration tables, such as SMBIOS", nil
	case FirmwareBlob2:
		return "cfv", "firmware volume " + text(prefixed(e.Data)), nil
	case FirmwareBlob:
		return "firmware", "firmware volume", nil
	case PlatformConfigFlags:
		name = text(e.Data)
		if name == acpiData {
			return name, "ACPI tables as downloaded from fw_cfg", nil
		}
		return name, "configuration from the VMM", nil
	case GPT:
		return "gpt", "partition table of the boot disk", e.Data
	}
	return e.Type.String(), text(e.Data), e.Data
}

func separatorMeaning(data []byte) string {
	switch {
	case bytes.Equal(data, []byte{0, 0, 0, 0}):
		return "the firmware hands over"
	case bytes.Equal(data, []byte{1, 0, 0, 0}):
		return "an error of the firmware"
	}
	return "of unknown meaning: " + short(data)
}

func (e Event) describeVariable(preimage []byte) (string, string, []byte) {
	v, err := parseVariable(e.Data)
	if err != nil {
		return "variable", "unreadable: " + err.Error(), nil
	}
	what := "variable, absent"
	switch {
	case v.name == "SecureBoot" && bytes.Equal(v.data, []byte{1}):
		what = "secure boot is on"
	case v.name == "SecureBoot" && bytes.Equal(v.data, []byte{0}):
		what = "secure boot is off"
	case v.name == "BootOrder":
		what = "boot options in the order " + bootOrder(v.data)
	case strings.HasPrefix(v.name, "Boot") && len(v.data) > 6:
		what = "boot option " + loadOption(v.data)
	case len(v.data) > 0:
		what = fmt.Sprintf("variable of %d bytes, SHA-256 %s", len(v.data), vm.HashOf(v.data).String()[:16])
	}
	if e.Type == VariableAuthority {
		what = "authority that vouched for what was loaded: " + what
	}
	return printable(v.name), what, preimage
}

// describeImage reads UEFI_IMAGE_LOAD_EVENT (PC Client Platform Firmware
// Profile, 10.2.3): location, length, link-time address, device path.
func (e Event) describeImage() (string, string, []byte) {
	if len(e.Data) < 32 {
		return "image", "unreadable", nil
	}
	size, n := binary.LittleEndian.Uint64(e.Data[8:]), binary.LittleEndian.Uint64(e.Data[24:])
	if n > uint64(len(e.Data)-32) {
		return "image", "unreadable", nil
	}
	path := devicePath(e.Data[32 : 32+n])
	name := "image"
	if e.Type == BootApplication && strings.Contains(path, qemuKernelVolume) {
		name = "kernel"
	}
	return name, fmt.Sprintf("program of %d bytes from %s, Authenticode digest", size, path), nil
}

// describeTag reads TCG_PCClientTaggedEvent: id, size, data. Kernels before
// 6.9 left id and size out.
func (e Event) describeTag() (string, string, []byte) {
	data, id := e.Data, uint32(0)
	if len(data) >= 8 && uint64(binary.LittleEndian.Uint32(data[4:])) == uint64(len(data)-8) {
		id, data = binary.LittleEndian.Uint32(data), data[8:]
	}
	switch said := text(data); {
	case id == tagLoadOptions, id == 0 && said == "LOADED_IMAGE::LoadOptions":
		return "command-line", "kernel command line, as UTF-16 load options", nil
	case id == tagInitrd, id == 0 && said == "Linux initrd":
		return "initrd", "initial RAM file system", nil
	default:
		return "tag", fmt.Sprintf("tag %#x: %s", id, said), data
	}
}

// describeIPL reads what boot loaders log. GRUB puts a prefix before what it
// measures and a NUL behind it (grub-core/commands/efi/tpm.c).
func (e Event) describeIPL() (string, string, []byte) {
	said := bytes.TrimSuffix(e.Data, []byte{0})
	for _, prefix := range []string{"grub_cmd: ", "kernel_cmdline: ", "module_cmdline: "} {
		if rest, ok := bytes.CutPrefix(said, []byte(prefix)); ok {
			return strings.TrimSuffix(prefix, ": "), text(rest), rest
		}
	}
	return "boot-loader", text(said), nil
}
