package measure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// recorded is a record of few shapes with everything in it.
func recorded(t testing.TB) Record {
	t.Helper()
	in := input()
	r := Record{
		Version: RecordVersion, Description: "base v0", Kernel: vm.HashOf(in.Kernel), Initramfs: vm.HashOf(in.Initrd),
		CommandLine: in.CommandLine + ` "<&>"`, RootHash: vm.HashOf([]byte("root")),
	}
	var err error
	if r.TDX, err = PredictTDX(in, []vm.Shape{{CPUs: 1, Memory: 1 << 30}, {CPUs: 1, Memory: 2 << 30}, {CPUs: 3, Memory: 1536 << 20}}); err != nil {
		t.Fatal(err)
	}
	firmware := snp.Firmware{
		Hash: vm.Register{1}, HashTable: 0x810c00, ResetEIP: 0x80b004,
		Sections: []ovmf.SEVSection{{Address: 0x810000, Size: 0x1000, Type: ovmf.KernelHashes}},
	}
	hashes := snp.HashFiles(in.Kernel, in.Initrd, in.CommandLine)
	if r.SNP, err = PredictSNP(snp.Launch{Firmware: firmware, Hashes: &hashes, CPU: 0x800f12}, vm.Hash{2}, "EPYC-v4", []int{1, 3}); err != nil {
		t.Fatal(err)
	}
	template := workload().Template()
	events, err := vm.BootEvents(r.RootHash, template)
	if err != nil {
		t.Fatal(err)
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	r.Workload = &Workload{rtmr[vm.RuntimeRegister], template}
	return r
}

func encoded(t testing.TB, r Record) []byte {
	t.Helper()
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordIsReadBack(t *testing.T) {
	want := recorded(t)
	b := encoded(t, want)
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, "", "\t"); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{b, indented.Bytes()} {
		r, err := ReadRecord(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded(t, r), b) {
			t.Error("the record that was read is another one")
		}
	}
	if lines := bytes.Count(b, []byte("\n")); lines != 3+4+1 {
		t.Errorf("%d lines, want one for each of 7 rows and one more", lines)
	}
	// Each shape is found, with what is predicted for it alone.
	shape := vm.Shape{CPUs: 3, Memory: 1536 << 20}
	in := input()
	in.Shape = shape
	_, p, err := Predict(in)
	if err != nil {
		t.Fatal(err)
	}
	found := map[vm.TEE]int{}
	for _, row := range want.Rows() {
		if !row.Has(shape) {
			continue
		}
		found[row.TEE]++
		if row.TEE == vm.TDX && (row.MRTD != p.MRTD || row.RTMR0 != p.RTMR0 || want.TDX.RTMR1 != p.RTMR1 || want.TDX.RTMR2 != p.RTMR2) {
			t.Errorf("%s: the row is %+v, want %+v", shape, row, p)
		}
		if row.TEE == vm.SNP && (row.Digest.IsZero() || row.Features != 1 && row.Features != 33) {
			t.Errorf("%s: the row is %+v", shape, row)
		}
	}
	if found[vm.TDX] != 1 || found[vm.SNP] != 2 {
		t.Errorf("%s stands in %v rows, want 1 and 2", shape, found)
	}
}

func TestShapeSet(t *testing.T) {
	s := ShapeSet{CPUs: []int{2, 4}, Memory: []int64{1024, 1536}, GPUs: []int{0, 1}}
	for text, want := range map[string]bool{
		"2x1G": true, "4x1536M": true, "2x1536M+1gpu": true, "3x1G": false, "2x2G": false, "4x1G+2gpu": false,
	} {
		shape, err := vm.ParseShape(text)
		if err != nil || s.Has(shape) != want {
			t.Errorf("%s: %v, want %v (%v)", text, !want, want, err)
		}
	}
	if any := (ShapeSet{CPUs: []int{2}}); !any.Has(vm.Shape{CPUs: 2, Memory: 7, GPUs: 8}) || any.Has(vm.Shape{CPUs: 1}) {
		t.Error("a list that is empty does not mean any")
	}
}

func TestReadRecordRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Record)
		wantErr string
	}{
		{"version", func(r *Record) { r.Version = 2 }, "version is 2, want 1"},
		{"no TEE", func(r *Record) { r.TDX, r.SNP = nil, nil }, "about no TEE"},
		{"no kernel", func(r *Record) { r.Kernel = vm.Hash{} }, "kernel, initramfs or root_hash is missing"},
		{"description", func(r *Record) { r.Description = "a\nb" }, "description is not printable"},
		{"command line", func(r *Record) { r.CommandLine = strings.Repeat("a", 4097) }, "command_line is not printable"},
		{"root hash of another system", func(r *Record) { r.RootHash[0] ^= 1 }, "the template measures"},
		{"another root hash in the command line", func(r *Record) { r.CommandLine = "a secretvm.verity=" + vm.HashOf(nil).String() + " b" }, "the command line has e3b0c44"},
		{"RTMR3", func(r *Record) { r.Workload.RTMR3[0] ^= 1 }, "workload: rtmr3 is"},
		{"an instance", func(r *Record) { r.Workload.Template.InstanceID = strings.Repeat("ab", 16) }, "want zeros"},
		{"bad template", func(r *Record) { r.Workload.Template.Version = 2 }, "version is 2"},
		{"no MRTD", func(r *Record) { r.TDX.MRTD = vm.Register{} }, "tdx: firmware, mrtd"},
		{"no rows", func(r *Record) { r.TDX.Rows = nil }, "tdx: there are no rows"},
		{"no RTMR0", func(r *Record) { r.TDX.Rows[0].RTMR0 = vm.Register{} }, "row 0: the value is missing"},
		{"row without shapes", func(r *Record) { r.TDX.Rows[1].Shapes = nil }, "row 1: it has no shapes"},
		{"value twice", func(r *Record) { r.TDX.Rows[1].RTMR0 = r.TDX.Rows[0].RTMR0 }, "stands in another row"},
		{"shape twice", func(r *Record) { r.TDX.Rows[1].Shapes = r.TDX.Rows[0].Shapes }, "there twice"},
		{"any memory on TDX", func(r *Record) { r.TDX.Rows[0].Shapes[0].Memory = nil }, "a number is missing"},
		{"any GPUs on TDX", func(r *Record) { r.TDX.Rows[0].Shapes[0].GPUs = nil }, "a number is missing"},
		{"no vCPUs", func(r *Record) { r.TDX.Rows[0].Shapes[0].CPUs = []int{0} }, "cpus are [0]"},
		{"vCPUs not in order", func(r *Record) { r.TDX.Rows[0].Shapes[0].CPUs = []int{5, 4} }, "cpus are [5 4]"},
		{"memory in bytes", func(r *Record) { r.TDX.Rows[0].Shapes[0].Memory = []int64{1 << 30} }, "memory is [1073741824]"},
		{"nine GPUs", func(r *Record) { r.TDX.Rows[0].Shapes[0].GPUs = []int{9} }, "gpus are [9]"},
		{"features", func(r *Record) { r.SNP.Rows[0].Features = 0 }, "snp: row 0: features are 0x0"},
		{"processor", func(r *Record) { r.SNP.CPUModel = "486" }, "snp: CPU model"},
		{"memory on SNP", func(r *Record) { r.SNP.Rows[0].Shapes[0].Memory = []int64{1024} }, "on which a launch digest does not depend"},
		{"vCPUs twice on SNP", func(r *Record) { r.SNP.Rows[1].Shapes = r.SNP.Rows[0].Shapes }, "there twice"},
		{"firmware of SNP", func(r *Record) { r.SNP.Firmware = vm.Hash{} }, "snp: firmware is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := recorded(t)
			c.change(&r)
			if _, err := r.Encode(); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("Encode: %v, want %q", err, c.wantErr)
			}
			b, err := r.compact()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ReadRecord(bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("ReadRecord: %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestReadRecordRefusesOtherText(t *testing.T) {
	text := string(encoded(t, recorded(t)))
	for _, c := range []struct{ name, text, wantErr string }{
		{"nothing", "", "EOF"},
		{"cut", text[:len(text)/2], "unexpected EOF"},
		{"two documents", text + text, "bytes trail"},
		{"unknown field", strings.Replace(text, `"version":1`, `"version":1,"more":1`, 1), "unknown field"},
		{"repeated field", strings.Replace(text, `"version":1`, `"version":2,"version":1`, 1), "repeated, out of order"},
		{"other case", strings.Replace(text, `"kernel":`, `"Kernel":`, 1), "repeated, out of order"},
		{"other order", strings.Replace(strings.Replace(text, `"version":1,`, "", 1), `,"kernel":`, `,"version":1,"kernel":`, 1), "repeated, out of order"},
		{"null", strings.Replace(text, `"gpus":[0]`, `"gpus":null`, 1), "a number is missing"},
		{"short register", strings.Replace(text, `"mrtd":"`, `"mrtd":"00`, 1), "98 characters"},
		{"too long", text + strings.Repeat(" ", maxRecord), "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ReadRecord(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

// Many values of few shapes are refused for their number before anything is
// made of them.
func TestReadRecordIsBounded(t *testing.T) {
	var seen rows
	for i := range maxRecordRows + 1 {
		cpus, memory := i%vm.MaxCPUs+1, int64(512+i/vm.MaxCPUs)
		err := seen.add(vm.Register{1, byte(i), byte(i >> 8), byte(i >> 16)}, 0, []ShapeSet{{[]int{cpus}, []int64{memory}, []int{0}}})
		if wantErr := i == maxRecordRows; (err != nil) != wantErr || wantErr && !strings.Contains(fmt.Sprint(err), "more than 16384 rows") {
			t.Fatalf("row %d: %v", i, err)
		}
	}
	var whole ShapeSet
	for n := range vm.MaxCPUs {
		whole.CPUs = append(whole.CPUs, n+1)
	}
	for n := range 1024 {
		whole.Memory = append(whole.Memory, int64(512+n))
	}
	whole.GPUs = []int{0}
	if err := new(rows).add(vm.Register{1}, 0, []ShapeSet{whole}); err == nil || !strings.Contains(err.Error(), "more than 32768 shapes") {
		t.Errorf("a set of 65536 shapes: %v", err)
	}
}

func FuzzReadRecord(f *testing.F) {
	f.Add(encoded(f, recorded(f)))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadRecord(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := ReadRecord(bytes.NewReader(encoded(t, r)))
		if err != nil || len(again.Rows()) != len(r.Rows()) || len(r.Rows()) == 0 {
			t.Fatalf("what was read is not read again: %v", err)
		}
	})
}
