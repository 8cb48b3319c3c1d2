package eventlog

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Type is a TCG event type.
type Type uint32

// The event types that firmware, boot loaders and Linux log (TCG PC Client
// Platform Firmware Profile 1.06, table 27), and the runtime events' own.
const (
	NoAction            Type = 0x3 // not extended into any register
	Separator           Type = 0x4
	Action              Type = 0x5
	EventTag            Type = 0x6
	PlatformConfigFlags Type = 0xa
	IPL                 Type = 0xd // boot loaders' own
	VariableDriver      Type = 0x80000001
	VariableBoot        Type = 0x80000002
	BootApplication     Type = 0x80000003
	BootDriver          Type = 0x80000004
	RuntimeDriver       Type = 0x80000005
	GPT                 Type = 0x80000006
	EFIAction           Type = 0x80000007
	FirmwareBlob        Type = 0x80000008
	HandoffTables       Type = 0x80000009
	FirmwareBlob2       Type = 0x8000000a
	HandoffTables2      Type = 0x8000000b
	VariableBoot2       Type = 0x8000000c
	VariableAuthority   Type = 0x800000e0
	Runtime                  = Type(vm.EventType)
)

var typeNames = map[Type]string{
	0x0: "EV_PREBOOT_CERT", 0x1: "EV_POST_CODE", NoAction: "EV_NO_ACTION", Separator: "EV_SEPARATOR", Action: "EV_ACTION",
	EventTag: "EV_EVENT_TAG", 0x7: "EV_S_CRTM_CONTENTS", 0x8: "EV_S_CRTM_VERSION", PlatformConfigFlags: "EV_PLATFORM_CONFIG_FLAGS",
	0xb: "EV_TABLE_OF_DEVICES", 0xc: "EV_COMPACT_HASH", IPL: "EV_IPL", 0xe: "EV_IPL_PARTITION_DATA",
	VariableDriver: "EV_EFI_VARIABLE_DRIVER_CONFIG", VariableBoot: "EV_EFI_VARIABLE_BOOT",
	BootApplication: "EV_EFI_BOOT_SERVICES_APPLICATION", BootDriver: "EV_EFI_BOOT_SERVICES_DRIVER",
	RuntimeDriver: "EV_EFI_RUNTIME_SERVICES_DRIVER", GPT: "EV_EFI_GPT_EVENT", EFIAction: "EV_EFI_ACTION",
	FirmwareBlob: "EV_EFI_PLATFORM_FIRMWARE_BLOB", HandoffTables: "EV_EFI_HANDOFF_TABLES",
	FirmwareBlob2: "EV_EFI_PLATFORM_FIRMWARE_BLOB2", HandoffTables2: "EV_EFI_HANDOFF_TABLES2",
	VariableBoot2: "EV_EFI_VARIABLE_BOOT2", VariableAuthority: "EV_EFI_VARIABLE_AUTHORITY",
	Runtime: "runtime",
}

// String is TCG's name of the type, or its number.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("%#x", uint32(t))
}

// Event is one entry of a log.
type Event struct {
	Register int         // 0–3: RTMR index
	Type     Type        //
	Digest   vm.Register // SHA-384, what was extended
	Data     []byte      // the machine's words about it; format by Type
	Name     string      // of Runtime events only; empty otherwise
}

// Log is a list of events in the order of the log.
type Log []Event

// Replay folds the log into RTMR0–RTMR3, starting from zero registers.
func (l Log) Replay() (rtmr [4]vm.Register) {
	for _, e := range l {
		if e.Type != NoAction {
			rtmr[e.Register] = rtmr[e.Register].Extend(e.Digest)
		}
	}
	return rtmr
}

// Explains returns a refusal (vm.CodeEvents) unless the replay of each named
// register equals its value in rtmr.
func (l Log) Explains(rtmr [4]vm.Register, registers ...int) error {
	replayed := l.Replay()
	for _, i := range registers {
		if replayed[i] != rtmr[i] {
			return vm.Refuse(vm.CodeEvents, "the event log does not explain the quoted register").
				On(fmt.Sprintf("RTMR%d", i), rtmr[i].String(), replayed[i].String()).
				Try("the log was changed, cut, or taken from another boot or machine than the quote, or something measured more after the log ended")
		}
	}
	return nil
}

// Check refuses (vm.CodeEvents) a log that says twice what can happen once in
// a register: the separator between the firmware and what it starts, a
// secure-boot variable, the hand-off block. Which of two a reader then takes
// for the true one would be the attacker's choice.
func (l Log) Check() error {
	type key struct {
		register int
		what     string
	}
	seen := map[key]int{}
	for i, e := range l {
		what := ""
		switch e.Type {
		case Separator:
			what = "separator"
		case HandoffTables2:
			what = "hand-off block"
		case VariableDriver:
			v, err := parseVariable(e.Data)
			if err != nil {
				return vm.Refuse(vm.CodeMalformed, "event %d (%s): %v", i, e.Type, err)
			}
			what = "variable " + v.vendor + " " + v.name
		default:
			continue
		}
		k := key{e.Register, what}
		if first, again := seen[k]; again {
			return vm.Refuse(vm.CodeEvents, "event %d of the log repeats event %d: %s", i, first, printable(what)).
				On(fmt.Sprintf("%s of RTMR%d", e.Type, e.Register), "twice", "once").
				Try("firmware before edk2-stable202411 logs the separator of RTMR1 in RTMR0: update the firmware")
		}
		seen[k] = i
	}
	return nil
}
