package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	folder "github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// testConfig is a measured config as a machine serves it, with other white space.
func testConfig(t *testing.T) (vm.Config, string) {
	t.Helper()
	config := vm.Config{
		Version: 1, Service: "svm1owner/guestbook", ComposeHash: vm.HashOf([]byte("compose")), InstanceID: strings.Repeat("ab", 16),
		KMS: vm.KMS{ChainID: "local-1", GroupKey: strings.Repeat("0a", 96)}, TLS: "self", Open: []string{}, Images: "digest", GPU: "none",
	}
	text, err := json.MarshalIndent(config, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return config, file
}

// evidenceOf is what a soft machine of an image shows, before any attack on it.
func evidenceOf(t *testing.T, dir string, shape vm.Shape, config vm.Config) vm.Evidence {
	t.Helper()
	im, err := openMeasured(dir)
	if err != nil {
		t.Fatal(err)
	}
	im.input.Shape = shape
	log, p, err := measure.PredictLog(im.input)
	if err != nil {
		t.Fatal(err)
	}
	id, err := config.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := emulator.NewPKI(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := emulator.New(pki, vm.Measurement{MRTD: p.MRTD, RTMR: [4]vm.Register{p.RTMR0, p.RTMR1, p.RTMR2}, MRConfigID: id})
	if err != nil {
		t.Fatal(err)
	}
	events, err := vm.BootEvents(im.manifest.Verity.RootHash, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if _, err := m.Extend(e.Register, e.Digest); err != nil {
			t.Fatal(err)
		}
	}
	evidence, err := m.Quote([64]byte{})
	if err != nil {
		t.Fatal(err)
	}
	evidence.BootLog, evidence.Events = log.CCEL(), events
	return evidence
}

func TestMeasureDiff(t *testing.T) {
	dir := measureFolder(t, func(*vm.Manifest) {})
	other := measureFolder(t, func(m *vm.Manifest) { m.CommandLine += " debug" })
	config, configFile := testConfig(t)
	shape := vm.Shape{CPUs: 3, Memory: 6 << 30}
	for _, c := range []struct {
		name     string
		image    string
		change   func(*vm.Evidence)
		args     []string
		wantCode int
		want     []string
		without  string
	}{
		{"as predicted, shape found", dir, nil, []string{"--config", configFile}, exitOK, []string{"against 3 vCPUs, 6144 MiB", "✓ all registers are as predicted"}, "✗"},
		{"no log, shape found by RTMR0", dir, func(e *vm.Evidence) { e.BootLog = nil }, nil, exitOK, []string{"against 3 vCPUs, 6144 MiB", "✓"}, "✗"},
		{
			"other command line", other, nil, nil, exitRefused,
			[]string{"✗ RTMR2 is", "RTMR2 event 0: command-line (", "is another one"},
			"RTMR1",
		},
		{
			"other shape", dir, nil,
			[]string{"--shape", "2x6G"},
			exitRefused,
			[]string{"✗ RTMR0 is", "etc/acpi/tables", "etc/table-loader"},
			"td-hob",
		},
		{
			"changed log", dir, func(e *vm.Evidence) { e.BootLog[100] ^= 1 }, nil, exitRefused,
			[]string{"✓ all registers are as predicted", "does not replay to the quoted RTMR0", "td-hob"},
			"RTMR1",
		},
		{
			"other workload", dir, func(e *vm.Evidence) { e.Events = e.Events[:2] },
			[]string{"--config", configFile},
			exitRefused,
			[]string{"does not replay to the quoted RTMR3", "boot-complete"},
			"RTMR0",
		},
		{"no log, no shape", other, func(e *vm.Evidence) { e.BootLog, e.Events = nil, nil }, nil, exitRefused, []string{"✗ RTMR2"}, "event"},
		{"no shape like it", dir, nil, []string{"--shape", "2"}, exitUsage, nil, "RTMR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			evidence := evidenceOf(t, dir, shape, config)
			if c.change != nil {
				c.change(&evidence)
			}
			text, err := json.Marshal(evidence)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "evidence.json")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"measure", "diff", c.image, file}, c.args...), strings.NewReader(""), &out, &errs)
			if code != c.wantCode {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.wantCode, out.String(), errs.String())
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not said:\n%s", want, out.String())
				}
			}
			if c.without != "" && strings.Contains(out.String(), c.without) {
				t.Errorf("%q is said:\n%s", c.without, out.String())
			}
		})
	}
}

// A machine of another project: registers and events are compared, whatever
// its log's form.
func TestMeasureDiffOfAnotherProject(t *testing.T) {
	file := filepath.Join(folder.Folder(t), "measure/dstack/quote-report.json")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"measure", "diff", measureFolder(t, func(*vm.Manifest) {}), file}, nil, &out, &errs)
	text := out.String()
	for _, want := range []string{"64", "✗ MRTD is", "✗ RTMR0 is", "kernel", "etc/acpi/tables"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said:\n%s%s", want, text, errs.String())
		}
	}
	if code != exitRefused || strings.Contains(text, "does not replay") || strings.Contains(text, "SecureBoot") {
		t.Errorf("exit code %d:\n%s%s", code, text, errs.String())
	}
}
