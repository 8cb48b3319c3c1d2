package measure

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
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

// Each input moves the registers that it should, and no other.
func TestPredictDependsOnEachInput(t *testing.T) {
	_, before, err := Predict(input())
	if err != nil {
		t.Fatal(err)
	}
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
		{"variable store", func(in *Input) { in.Firmware = flip(in.Firmware, 100) }, "rtmr0"},
		{"memory", func(in *Input) { in.Shape.Memory = 4 << 30 }, "rtmr0"},
		{"vCPUs", func(in *Input) { in.Shape.CPUs = 4 }, "rtmr0"},
		{"ACPI tables", func(in *Input) { in.ACPI = &ACPI{} }, "rtmr0"},
		{"boot options", func(in *Input) { in.Profile.BootOptions = nil }, "rtmr0"},
		{"separator", func(in *Input) { in.Profile.ReadyToBoot = 0 }, "rtmr0 rtmr1"},
		{"page order", func(in *Input) { in.Profile.PageOrder = 1 }, "mrtd"},
		{"kernel", func(in *Input) { in.Kernel = flip(in.Kernel, linuxboottest.HeadersSize) }, "rtmr1"},
		{"command line", func(in *Input) { in.CommandLine += " " }, "rtmr2"},
		{"initrd token", func(in *Input) { in.Profile.InitrdToken = 1 }, "rtmr2"},
		{"initrd", func(in *Input) { in.Initrd = flip(in.Initrd, 0) }, "rtmr2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input()
			c.change(&in)
			_, after, err := Predict(in)
			if err != nil {
				t.Fatal(err)
			}
			var moved []string
			for _, d := range Differences(before, after) {
				moved = append(moved, d.Register)
			}
			if got := strings.Join(moved, " "); got != c.moves {
				t.Errorf("moved %q, want %q", got, c.moves)
			}
		})
	}
}

func TestPredictRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Input)
		wantErr string
	}{
		{"shape", func(in *Input) { in.Shape.CPUs = 0 }, "0 vCPUs"},
		{"firmware", func(in *Input) { in.Firmware = in.Firmware[ovmftest.VarsSize:] }, "is this a CODE image without its variables?"},
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
	if shapes[0] != vm.DefaultShape || len(shapes) != 6 {
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
