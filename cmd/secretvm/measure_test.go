package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/vm"
)

// measureFolder writes an image folder with a manifest that is right but for change.
func measureFolder(t *testing.T, change func(*vm.Manifest)) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) vm.File {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return vm.File{Name: name, Size: int64(len(b)), SHA256: vm.HashOf(b)}
	}
	in := measure.Input{
		Firmware: ovmftest.Image(ovmftest.Sections()), Kernel: linuxboottest.Kernel(), Initrd: []byte("initrd"),
		CommandLine: "console=ttyS0", Profile: measure.EDK2Stable202502(),
	}
	m := vm.Manifest{
		Version: 1, Name: "base", Release: "v0", CommandLine: in.CommandLine,
		Firmware: write("OVMF.fd", in.Firmware), Kernel: write("vmlinuz", in.Kernel),
		Initramfs: write("initramfs.cpio", in.Initrd), Rootfs: write("rootfs.img", []byte("rootfs")),
	}
	var err error
	if m.Predictions, err = measure.PredictShapes(in, measure.Shapes()); err != nil {
		t.Fatal(err)
	}
	change(&m)
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(vm.ManifestName, b)
	return dir
}

func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     func(*vm.Manifest)
		wantCode   int
		wantOutput string
		wantError  string
	}{
		{"as built", func(*vm.Manifest) {}, exitOK, " ✓ RTMR2", ""},
		{"other register", func(m *vm.Manifest) { m.Predictions[1].RTMR1[0] ^= 1 }, exitRefused, " ✗ RTMR1", "other registers than its files give"},
		{"other command line", func(m *vm.Manifest) { m.CommandLine += " x" }, exitRefused, " ✗ RTMR2", "other registers than its files give"},
		{"other kernel", func(m *vm.Manifest) { m.Kernel.SHA256[0] ^= 1 }, exitRefused, "", "is not the file that the manifest names"},
		{"path out of the folder", func(m *vm.Manifest) { m.Kernel.Name = "../vmlinuz" }, exitRefused, "", "want a plain file name"},
		{"no predictions", func(m *vm.Manifest) { m.Predictions = nil }, exitRefused, "", "holds no predictions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(context.Background(), []string{"measure", measureFolder(t, c.change)}, nil, &out, &errs)
			if code != c.wantCode || !strings.Contains(out.String(), c.wantOutput) || !strings.Contains(errs.String(), c.wantError) {
				t.Fatalf("exit code %d, want %d\n%s%s", code, c.wantCode, out.String(), errs.String())
			}
		})
	}
}

func TestMeasureJSONWithEvents(t *testing.T) {
	var out, errs bytes.Buffer
	dir := measureFolder(t, func(*vm.Manifest) {})
	if code := run(context.Background(), []string{"measure", "--json", "--events", filepath.Join(dir, vm.ManifestName)}, nil, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var results []measured
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		rtmr, err := vm.Replay(r.Events)
		if err != nil || rtmr[0] != r.RTMR0 || rtmr[1] != r.RTMR1 || rtmr[2] != r.RTMR2 {
			t.Errorf("%+v: the events do not fold to the registers (%v)", r.Shape, err)
		}
	}
	if len(results) != len(measure.Shapes()) {
		t.Errorf("%d results, want %d", len(results), len(measure.Shapes()))
	}
}
