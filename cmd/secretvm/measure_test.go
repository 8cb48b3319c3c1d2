package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/measure/snp"
	folder "github.com/secretvm/secretvm/test/vectors"
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
		Verity: vm.Verity{RootHash: vm.HashOf([]byte("rootfs"))},
	}
	var err error
	if m.Predictions, err = measure.PredictShapes(in, measure.Shapes()[:4]); err != nil {
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
	if len(results) != 4 {
		t.Errorf("%d results, want 4", len(results))
	}
}

func TestMeasureShapesAndConfig(t *testing.T) {
	dir := measureFolder(t, func(*vm.Manifest) {})
	config, file := testConfig(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"measure", dir, "--json", "--events", "--shape", "2x2G,3x1234M", "--config", file}, nil, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var results []measured
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != 2 || results[1].Shape != (vm.Shape{CPUs: 3, Memory: 1234 << 20}) {
		t.Fatalf("%v: %s", err, out.String())
	}
	id, _ := config.ConfigID()
	for _, r := range results {
		rtmr, err := vm.Replay(r.Events)
		if err != nil || rtmr[0] != r.RTMR0 || r.RTMR3 == nil || rtmr[3] != *r.RTMR3 || r.ConfigID == nil || *r.ConfigID != id || r.MRTDTwoPass == r.MRTD {
			t.Errorf("%+v: events and registers do not agree (%v)", r.Shape, err)
		}
	}
}

func TestMeasureAllShapes(t *testing.T) {
	dir := measureFolder(t, func(*vm.Manifest) {})
	config, file := testConfig(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"measure", dir, "--all-shapes", "--config", file}, nil, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	r, err := measure.ReadRecord(&out)
	if err != nil {
		t.Fatal(err)
	}
	rows := r.Rows()
	if want := len(measure.CommonShapes()); len(rows) != want || want != 64*18*9 || r.TDX.MRTD == r.TDX.MRTDTwoPass || r.Workload == nil {
		t.Fatalf("%d rows, want %d", len(rows), want)
	}
	results, err := measureImage(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range results {
		i := slices.IndexFunc(rows, func(row measure.Row) bool { return row.RTMR0 == p.RTMR0 })
		if i < 0 || !rows[i].Has(p.Shape) || p.MRTD != rows[i].MRTD || p.RTMR1 != r.TDX.RTMR1 || p.RTMR2 != r.TDX.RTMR2 {
			t.Errorf("%s is not in the record", p.Shape)
		}
	}
	if want, _ := config.Template().Digest(); digestOf(t, r.Workload.Template) != want {
		t.Error("the record is about another workload")
	}
}

func TestMeasureRefusesUsage(t *testing.T) {
	dir := measureFolder(t, func(*vm.Manifest) {})
	bad := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(bad, []byte(`{"version":1,"extra":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--shape", "4"}, "want vCPUs and memory"},
		{[]string{"--shape", "x2G"}, "want vCPUs and memory"},
		{[]string{"--shape", "65x2G"}, "65 vCPUs, want 1 to 64"},
		{[]string{"--shape", "2x1T"}, "want vCPUs and memory"},
		{[]string{"--shape", "2x2G+9gpu"}, "9 GPUs"},
		{[]string{"--shape", "2x100M"}, "512 MiB to 512 GiB"},
		{[]string{"--config", bad}, "is not a measured config"},
		{[]string{"--config", bad + "x"}, "read config"},
		{[]string{"--qemu", bad + "/none"}, "find QEMU"},
		{[]string{"--snp-firmware", bad + "/none"}, "read firmware"},
		{[]string{"--snp-firmware", filepath.Join(dir, "OVMF.fd")}, "parse OVMF image"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"measure", dir}, c.args...), nil, &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: exit code %d, %s; want %d and %q", c.args, code, errs.String(), exitUsage, c.want)
		}
	}
}

// The end of an AmdSev build has all but the code: enough to see that every
// input of the launch counts.
func TestMeasureSNP(t *testing.T) {
	firmware := filepath.Join(folder.Folder(t), "measure/sev-snp-measure/ovmf_AmdSev_suffix.bin")
	image, err := os.ReadFile(firmware)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := snp.ParseFirmware(image)
	if err != nil {
		t.Fatal(err)
	}
	hashes := snp.HashFiles(linuxboottest.Kernel(), []byte("initrd"), "console=ttyS0")
	want := func(cpus int, features uint64) vm.Register {
		d, err := snp.Predict(snp.Launch{Firmware: parsed, Hashes: &hashes, CPUs: cpus, CPU: 0x800f12, Features: features})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	dir := measureFolder(t, func(*vm.Manifest) {})
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"measure", dir, "--json", "--shape", "4x8G", "--snp-firmware", firmware}, nil, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var results []measured
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || results[0].SNP == nil || results[0].SNP.Digest != want(4, 1) || results[0].SNP.DebugSwap != want(4, 0x21) {
		t.Errorf("%v: %s, want the digest %s", err, out.String(), want(4, 1))
	}
	config, configFile := testConfig(t)
	out.Reset()
	if code := run(t.Context(), []string{"measure", dir, "--shape", "4x8G", "--snp-firmware", firmware, "--config", configFile}, nil, &out, &errs); code != exitOK || !strings.Contains(out.String(), "HOST_DATA "+digestOf(t, config).String()) {
		t.Errorf("exit code %d: %s%s", code, out.String(), errs.String())
	}
	// The manifest's own, without a flag.
	dir = measureFolder(t, func(m *vm.Manifest) {
		m.SNPFirmware = &vm.File{Name: "secretvm-snp.fd", Size: int64(len(image)), SHA256: vm.HashOf(image)}
	})
	out.Reset()
	if code := run(t.Context(), []string{"measure", dir, "--shape", "4x8G"}, nil, &out, &errs); code != exitRefused || !strings.Contains(errs.String(), "secretvm-snp.fd") {
		t.Errorf("without the file: exit code %d: %s", code, errs.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "secretvm-snp.fd"), image, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"measure", dir, "--shape", "4x8G+2gpu"}, nil, &out, &errs); code != exitOK || !strings.Contains(out.String(), "4 vCPUs, 8192 MiB, 2 GPUs (tdx)") || !strings.Contains(out.String(), "SEV-SNP, 4 × EPYC-v4: "+want(4, 1).String()) {
		t.Errorf("exit code %d: %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	if code := run(t.Context(), []string{"measure", dir, "--all-shapes"}, nil, &out, &errs); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	r, err := measure.ReadRecord(&out)
	if err != nil || r.SNP == nil || len(r.SNP.Rows) != 128 || r.SNP.Firmware != vm.HashOf(image) {
		t.Fatalf("%v: the record has not the 64 launches of SEV-SNP on either host", err)
	}
	for _, row := range r.Rows() {
		if row.TEE == vm.SNP && row.Has(vm.Shape{CPUs: 64, Memory: 8 << 30, GPUs: 2}) && row.Digest != want(64, row.Features) {
			t.Errorf("features %#x: the digest is %s, want %s", row.Features, row.Digest, want(64, row.Features))
		}
	}
}

func digestOf(t *testing.T, c vm.Config) vm.Hash {
	t.Helper()
	h, err := c.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}
