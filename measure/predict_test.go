package measure

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

func input() Input {
	return Input{
		Firmware:    ovmftest.Image(ovmftest.Sections()),
		Kernel:      linuxboottest.Kernel(),
		Initrd:      []byte("an initrd"),
		CommandLine: "console=ttyS0 panic=-1",
		Shape:       vm.DefaultShape,
		Profile:     EDK2Stable202502(),
	}
}

func TestPredictListsEvents(t *testing.T) {
	events, p, err := Predict(input())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		names = append(names, e.Name)
		if len(e.Payload) == 0 || e.Digest.IsZero() {
			t.Errorf("event %s has no description or no digest", e.Name)
		}
	}
	const want = "td-hob cfv SecureBoot PK KEK db dbx separator etc/table-loader etc/acpi/rsdp etc/acpi/tables kernel BootOrder Boot0000 " +
		"action separator command-line initrd action action"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("events are %s\nwant       %s", got, want)
	}
	rtmr, err := vm.Replay(events)
	if err != nil || rtmr[0] != p.RTMR0 || rtmr[1] != p.RTMR1 || rtmr[2] != p.RTMR2 || !rtmr[3].IsZero() {
		t.Errorf("the events do not fold to the prediction: %v", err)
	}
}

// workload is the measured config of the test below.
func workload() vm.Config {
	return vm.Config{
		Version: 1, Service: "svm1owner/guestbook", ComposeHash: vm.HashOf([]byte("compose")), InstanceID: strings.Repeat("ab", 16),
		KMS: vm.KMS{ChainID: "local-1", GroupKey: strings.Repeat("0a", 96)}, TLS: "self", Open: []string{}, Images: "digest", GPU: "none",
	}
}

// host is what SNP machines get beside the files: its firmware, for which a
// summary stands, and what the host's kernel and QEMU decide.
type host struct {
	firmware vm.Register
	model    string
	features uint64
}

// registers are all that a launch and the boot after it leave: of the TDX machine
// and of the SNP machine that get the same image, shape and config.
func registers(t *testing.T, in Input, root vm.Hash, config vm.Config, on host) map[string]vm.Register {
	t.Helper()
	_, p, err := Predict(in)
	if err != nil {
		t.Fatal(err)
	}
	events, err := vm.BootEvents(root, config)
	if err != nil {
		t.Fatal(err)
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	id, err := config.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := snp.Signature(on.model)
	if err != nil {
		t.Fatal(err)
	}
	hashes := snp.HashFiles(in.Kernel, in.Initrd, in.CommandLine)
	digest, err := snp.Predict(snp.Launch{
		Firmware: snp.Firmware{
			Hash: on.firmware, HashTable: 0x810c00, ResetEIP: 0x80b004,
			Sections: []ovmf.SEVSection{{Address: 0x80e000, Size: 0x1000, Type: ovmf.CPUID}, {Address: 0x810000, Size: 0x1000, Type: ovmf.KernelHashes}},
		},
		Hashes: &hashes, CPUs: in.Shape.CPUs, CPU: signature, Features: on.features,
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := config.Digest()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]vm.Register{
		"mrtd": p.MRTD, "rtmr0": p.RTMR0, "rtmr1": p.RTMR1, "rtmr2": p.RTMR2, "rtmr3": rtmr[3], "mr_config_id": id, "snp": digest,
	}
	var hostData vm.Register
	copy(hostData[:], data[:])
	out["host_data"] = hostData
	return out
}

// Each input moves the registers that it should, and no other: MRTD, RTMR0 to
// RTMR3 and MR_CONFIG_ID of a TDX machine, launch digest (snp) and HOST_DATA of
// an SNP machine.
func TestEachInputMovesItsRegisters(t *testing.T) {
	on := host{firmware: vm.Register{1}, model: "EPYC-v4", features: snp.SNPActive}
	before := registers(t, input(), vm.HashOf(nil), workload(), on)
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name   string
		change func(*Input)
		moves  string
	}{
		{"nothing", func(*Input) {}, ""},
		{"firmware code", func(in *Input) { in.Firmware = flip(in.Firmware, ovmftest.VarsSize) }, "mrtd"},
		{"variable store", func(in *Input) { in.Firmware = flip(in.Firmware, 0x40000) }, "rtmr0"},
		{"memory", func(in *Input) { in.Shape.Memory = 4 << 30 }, "rtmr0"},
		{"one MiB of memory", func(in *Input) { in.Shape.Memory += 1 << 20 }, "rtmr0"},
		{"vCPUs", func(in *Input) { in.Shape.CPUs++ }, "rtmr0 snp"},
		{"a GPU", func(in *Input) { in.Shape.GPUs = 1 }, "rtmr0"},
		{"all GPUs", func(in *Input) { in.Shape.GPUs = vm.MaxShapeGPUs }, "rtmr0"},
		{"ACPI tables", func(in *Input) { in.ACPI = &ACPI{} }, "rtmr0"},
		{"boot options", func(in *Input) { in.Profile.BootOptions = nil }, "rtmr0"},
		{"fw_cfg items", func(in *Input) { in.Profile.Items = EDK2Stable202505().Items }, "rtmr0"},
		{"SMBIOS tables", func(in *Input) { in.Profile.SMBIOS, in.SMBIOS = true, &vm.Register{1} }, "rtmr0"},
		{"separator", func(in *Input) { in.Profile.ReadyToBoot = 0 }, "rtmr0 rtmr1"},
		{"page order", func(in *Input) { in.Profile.PageOrder = 1 }, "mrtd"},
		{"kernel", func(in *Input) { in.Kernel = flip(in.Kernel, linuxboottest.HeadersSize) }, "rtmr1 snp"},
		{"what trails the kernel", func(in *Input) { in.Kernel = flip(in.Kernel, linuxboottest.Certificate-1) }, "rtmr1 snp"},
		{"checksum of the kernel, which Authenticode leaves out", func(in *Input) { in.Kernel = flip(in.Kernel, linuxboottest.Optional+64) }, "snp"},
		{"signature of the kernel, as well", func(in *Input) { in.Kernel = flip(in.Kernel, len(in.Kernel)-1) }, "snp"},
		{"setup header of the kernel", func(in *Input) { in.Kernel = flip(in.Kernel, 0x3b) }, "rtmr1 snp"},
		{"command line", func(in *Input) { in.CommandLine += " " }, "rtmr2 snp"},
		{"initrd token", func(in *Input) { in.Profile.InitrdToken = 1 }, "rtmr2"},
		{"initrd", func(in *Input) { in.Initrd = flip(in.Initrd, 0) }, "rtmr2 snp"},
		{"longer initrd", func(in *Input) { in.Initrd = append(bytes.Clone(in.Initrd), 0) }, "rtmr2 snp"},
		{"no initrd", func(in *Input) { in.Initrd = nil }, "rtmr2 snp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input()
			c.change(&in)
			checkMoved(t, before, registers(t, in, vm.HashOf(nil), workload(), on), c.moves)
		})
	}
	other := workload()
	other.ComposeHash = vm.HashOf([]byte("another"))
	t.Run("config", func(t *testing.T) {
		checkMoved(t, before, registers(t, input(), vm.HashOf(nil), other, on), "host_data mr_config_id rtmr3")
	})
	t.Run("root file system, as RTMR3 has it", func(t *testing.T) {
		checkMoved(t, before, registers(t, input(), vm.HashOf([]byte("root")), workload(), on), "rtmr3")
	})
	instance := workload()
	instance.InstanceID = strings.Repeat("cd", 16)
	t.Run("instance", func(t *testing.T) {
		checkMoved(t, before, registers(t, input(), vm.HashOf(nil), instance, on), "host_data mr_config_id rtmr3")
	})
	for name, other := range map[string]host{
		"firmware for SNP":                {vm.Register{2}, on.model, on.features},
		"processor of SNP machines":       {on.firmware, "EPYC-Milan", on.features},
		"debug registers of SNP machines": {on.firmware, on.model, on.features | snp.DebugSwap},
	} {
		t.Run(name, func(t *testing.T) {
			checkMoved(t, before, registers(t, input(), vm.HashOf(nil), workload(), other), "snp")
		})
	}
}

func checkMoved(t *testing.T, before, after map[string]vm.Register, want string) {
	t.Helper()
	var moved []string
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if before[name] != after[name] {
			moved = append(moved, name)
		}
	}
	if got := strings.Join(moved, " "); got != want {
		t.Errorf("moved %q, want %q", got, want)
	}
}

func TestPredictRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Input)
		wantErr string
	}{
		{"shape", func(in *Input) { in.Shape.CPUs = 0 }, "0 vCPUs"},
		{"GPUs", func(in *Input) { in.Shape.GPUs = 9 }, "9 GPUs"},
		{"firmware", func(in *Input) { in.Firmware = in.Firmware[ovmftest.VarsSize:] }, "is this a CODE image without its variables?"},
		{"variables", func(in *Input) {
			copy(in.Firmware[0x64:], []byte{0xaa, 0x55, 0x3f, 35: 0, 36: 4, 37: 0, 38: 0, 39: 0, 40: 0, 43: 0, 60: 'P', 61: 0, 62: 0, 63: 0})
		}, `variable store holds "P"`},
		{"kernel", func(in *Input) { in.Kernel = []byte("ELF") }, "kernel is not a PE image"},
		{"command line", func(in *Input) { in.CommandLine = "a\n" }, "printable ASCII only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input()
			c.change(&in)
			_, _, err := Predict(in)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) || !strings.HasPrefix(err.Error(), "predict measurement: ") {
				t.Fatalf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestShapesBeginWithTheDefault(t *testing.T) {
	shapes := Shapes()
	if shapes[0] != vm.DefaultShape || len(shapes) != 7*18 {
		t.Fatalf("shapes are %+v", shapes)
	}
	predictions, err := PredictShapes(input(), shapes)
	if err != nil {
		t.Fatal(err)
	}
	var seen []vm.Register
	for _, p := range predictions {
		if slices.Contains(seen, p.RTMR0) {
			t.Errorf("two shapes have RTMR0 %s", p.RTMR0)
		}
		seen = append(seen, p.RTMR0)
	}
}
