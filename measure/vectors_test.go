package measure

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/acpi"
	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/measure/tdx"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// vector reads a file of the vectors' folder measure, or skips the test.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	return vectors.Read(t, "measure/"+name)
}

func vectorJSON(t *testing.T, name string, to any) {
	t.Helper()
	if err := json.Unmarshal(vector(t, name), to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// predictRegisters gives the event list of a machine with the layout of
// OVMF's IntelTdx build and a blank variable store. Kernel, command line and
// initrd are opaque in the vectors: only their digests are known.
func predictRegisters(t *testing.T, memory uint64, p Profile, tables ACPI, kernel, options, initrd vm.Register) Log {
	t.Helper()
	image, err := ovmf.Parse(ovmftest.Image(ovmftest.Sections()))
	if err != nil {
		t.Fatal(err)
	}
	hob, err := tdx.HOB(image, memory)
	if err != nil {
		t.Fatal(err)
	}
	var log Log
	log.platform(p, image, storeOf(image), hob, tables)
	log.kernel(kernel, 0)
	log.bootOptions(p)
	log.ready(p)
	log.linux(options, 0, &initrd, 0)
	log.exit()
	return log
}

// compare holds two event lists of one register against each other.
func compare(t *testing.T, register int, got []vm.Event, want []vm.Register) {
	t.Helper()
	got = slices.DeleteFunc(slices.Clone(got), func(e vm.Event) bool { return e.Register != register })
	if len(got) != len(want) {
		t.Fatalf("RTMR%d: predicted %d events, the log has %d", register, len(got), len(want))
	}
	for i := range want {
		if got[i].Digest != want[i] {
			t.Errorf("RTMR%d event %d (%s): predicted %s, the log has %s", register, i, got[i].Name, got[i].Digest, want[i])
		}
	}
}

// Two real machines: the predicted lists are those of the logs, and fold to the
// registers in the signed quotes.
func hardwareVectors(t *testing.T) (checked int) {
	for _, c := range []struct {
		file   string
		memory uint64
		acpi   func(d []vm.Register) ACPI
	}{
		{"dstack/quote-report.json", 64 << 30, func(d []vm.Register) ACPI { return ACPI{d[8], d[9], d[10]} }},
		{"dstack/tdx-lite-getquote.json", 2 << 30, func(d []vm.Register) ACPI { return ACPI{d[8], d[9], d[10]} }},
	} {
		t.Run(c.file, func(t *testing.T) {
			var report struct {
				Quote    string `json:"quote"`
				EventLog string `json:"event_log"`
			}
			vectorJSON(t, c.file, &report)
			var log []struct {
				IMR    int
				Digest string
			}
			if err := json.Unmarshal([]byte(report.EventLog), &log); err != nil {
				t.Fatal(err)
			}
			var digests [4][]vm.Register
			for _, e := range log {
				if e.IMR == 3 { // the application's; in one file without digests
					continue
				}
				r, err := vm.ParseRegister(e.Digest)
				if err != nil {
					t.Fatal(err)
				}
				digests[e.IMR] = append(digests[e.IMR], r)
			}
			events := predictRegisters(t, c.memory, EDK2Stable202502(), c.acpi(digests[0]), digests[1][0], digests[2][0], digests[2][1]).Events()
			for register := range 3 {
				compare(t, register, events, digests[register])
			}
			// RTMR0 is at offset 328 of the TD report body, which follows the 48-byte header.
			quote, err := hex.DecodeString(report.Quote)
			if err != nil {
				t.Fatal(err)
			}
			rtmr, err := vm.Replay(events)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if quoted := quote[48+328+48*i:][:48]; !bytes.Equal(rtmr[i][:], quoted) {
					t.Errorf("RTMR%d folds to %s, the quote has %x", i, rtmr[i], quoted)
				}
				checked++
			}
		})
	}
	return checked
}

// A log of a machine that QEMU booted directly, as another project parsed it.
// Its firmware is older than edk2-stable202411.
func trusteeVectors(t *testing.T) (checked int) {
	var log struct {
		Events []struct {
			Index   int
			Digests []struct{ Digest vm.Register }
		} `json:"uefi_event_logs"`
	}
	vectorJSON(t, "trustee/CCEL_data_ovmf_out.json", &log)
	if len(log.Events) == 0 {
		t.Fatal("the log has no events")
	}
	var digests [4][]vm.Register
	for _, e := range log.Events {
		digests[e.Index-1] = append(digests[e.Index-1], e.Digests[0].Digest)
	}
	p := EDK2Stable202502()
	p.ReadyToBoot = 0
	d := digests[0]
	events := predictRegisters(t, 2<<30, p, ACPI{d[8], d[9], d[10]}, digests[1][0], digests[2][0], digests[2][1]).Events()
	for register := range 3 {
		compare(t, register, events, digests[register])
	}
	return len(events)
}

type oasisACPI struct {
	MemoryMiB int         `json:"memory_mib"`
	CPUs      int         `json:"cpus"`
	Tables    vm.Register `json:"tables_sha384"`
	RSDP      vm.Register `json:"rsdp_sha384"`
	Loader    vm.Register `json:"loader_sha384"`
}

type oasisVectors struct {
	ACPI   []oasisACPI
	Replay []struct {
		Expected vm.Register
		Log      []vm.Register
	}
}

// The third replay is a whole RTMR0: 1 vCPU, 2815 MiB, firmware older than
// edk2-stable202411. The second is its RTMR1.
func oasisReplayVectors(t *testing.T) (checked int) {
	var v oasisVectors
	vectorJSON(t, "oasis-cli/expected.json", &v)
	p := EDK2Stable202502()
	p.ReadyToBoot = 0
	i := slices.IndexFunc(v.ACPI, func(a oasisACPI) bool { return a.MemoryMiB == 2815 && a.CPUs == 1 })
	tables := ACPI{v.ACPI[i].Loader, v.ACPI[i].RSDP, v.ACPI[i].Tables}
	events := predictRegisters(t, 2815<<20, p, tables, v.Replay[1].Log[0], v.Replay[0].Log[0], vm.Register{}).Events()
	compare(t, 0, events, v.Replay[2].Log)
	compare(t, 1, events, v.Replay[1].Log)
	rtmr, err := vm.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	if rtmr[0] != v.Replay[2].Expected || rtmr[1] != v.Replay[1].Expected {
		t.Errorf("registers are %s, %s; want %s, %s", rtmr[0], rtmr[1], v.Replay[2].Expected, v.Replay[1].Expected)
	}
	if got := (vm.Register{}).Extend(v.Replay[0].Log[0]); got != v.Replay[0].Expected {
		t.Errorf("one extension gives %s, want %s", got, v.Replay[0].Expected)
	}
	return len(v.Replay)
}

// Published RTMR0 values of another predictor, over the ACPI tables beside
// them. The loader and the pointer to the tables follow from the tables.
func fortanixVectors(t *testing.T) (checked int) {
	for _, c := range []struct {
		name   string
		memory uint64
	}{{"canonical-defaults", 2 << 30}, {"q35-with-hpet", 4 << 30}, {"runtime-capture", 16 << 30}} {
		t.Run(c.name, func(t *testing.T) {
			tables := vector(t, "fortanix-tdx-measure/"+c.name+"/acpi_tables.bin")
			var want struct{ RTMR0 vm.Register }
			vectorJSON(t, "fortanix-tdx-measure/"+c.name+"/expected.json", &want)
			image, err := ovmf.Parse(ovmftest.Image(debianSections()))
			if err != nil {
				t.Fatal(err)
			}
			hob, err := tdx.HOB(image, c.memory)
			if err != nil {
				t.Fatal(err)
			}
			var log Log
			p := EDK2Stable202502()
			log.platform(p, image, storeOf(image), hob, acpiOf(t, tables))
			log.bootOptions(p)
			rtmr, err := vm.Replay(log.Events())
			if err != nil {
				t.Fatal(err)
			}
			if rtmr[0] != want.RTMR0 {
				t.Errorf("RTMR0 is %s, want %s", rtmr[0], want.RTMR0)
			}
			checked++
		})
	}
	return checked
}

// debianSections are those of the generic build of edk2-stable202502, where a
// page at 0x810000 belongs to SEV-SNP.
func debianSections() []ovmf.Section {
	s := ovmftest.Sections()
	s[2].Address, s[2].Size = 0x811000, 0xf000
	return s
}

// All three ACPI files of sixteen CPU counts and several sizes of memory: the
// published tables with the window for their memory, and what follows from them.
func oasisACPIVectors(t *testing.T) (checked int) {
	var v oasisVectors
	vectorJSON(t, "oasis-cli/expected.json", &v)
	for _, want := range v.ACPI {
		text := vector(t, fmt.Sprintf("oasis-cli/template_qemu_cpu%d.hex", want.CPUs))
		tables, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := acpi.SetWindow(tables, int64(want.MemoryMiB)<<20); err != nil {
			t.Fatal(err)
		}
		if got := acpiOf(t, tables); got != (ACPI{want.Loader, want.RSDP, want.Tables}) {
			t.Errorf("%d vCPUs, %d MiB: files are %+v, want %+v", want.CPUs, want.MemoryMiB, got, want)
		}
		checked++
	}
	return checked
}

func storeOf(image *ovmf.Image) vm.Register {
	return sha512.Sum384(image.Contents(image.Section(ovmf.CFV)))
}

// acpiOf derives the other two files from etc/acpi/tables.
func acpiOf(t *testing.T, tables []byte) ACPI {
	t.Helper()
	blobs, err := acpi.Link(tables)
	if err != nil {
		t.Fatal(err)
	}
	return DigestACPI(blobs)
}
