package snp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/vm"
)

// kernel plays configfs-tsm: one folder a request, a report from the data that
// was written, a generation that counts writes.
type kernel struct {
	entries map[string]*entry
	made    int

	// What goes wrong.
	provider, floor string
	busy            int           // that many reads of outblob are refused
	intruder        int           // that many requests are written to by somebody else
	wait            time.Duration // before a report
	change          func([]byte) []byte
	fail            string // the file that cannot be read or written
	kept            bool   // requests cannot be removed
}

type entry struct {
	data       [64]byte
	level      string
	generation int
}

func (k *kernel) MkdirTemp(dir, pattern string) (string, error) {
	if k.fail == "mkdir" {
		return "", os.ErrPermission
	}
	k.made++
	name := fmt.Sprintf("%s/%s%d", dir, pattern, k.made)
	if k.entries == nil {
		k.entries = map[string]*entry{}
	}
	k.entries[name] = &entry{generation: 7}
	return name, nil
}

func (k *kernel) RemoveAll(path string) error {
	if k.kept || k.entries[path] == nil {
		return syscall.EBUSY
	}
	delete(k.entries, path)
	return nil
}

func (k *kernel) at(path string) (*entry, string, error) {
	e, name := k.entries[filepath.Dir(path)], filepath.Base(path)
	if e == nil || name == k.fail {
		return nil, name, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return e, name, nil
}

func (k *kernel) WriteFile(path string, b []byte) error {
	e, name, err := k.at(path)
	if err != nil {
		return err
	}
	e.generation++
	switch {
	case name == "inblob" && len(b) == 64:
		e.data = [64]byte(b)
	case name == "privlevel" && k.floor == "":
		e.level = string(b)
	default:
		return syscall.EINVAL
	}
	return nil
}

func (k *kernel) ReadFile(path string) ([]byte, error) {
	e, name, err := k.at(path)
	if err != nil {
		return nil, err
	}
	switch name {
	case "generation":
		return fmt.Appendln(nil, e.generation), nil
	case "privlevel_floor":
		return []byte(k.floor + "\n"), nil
	case "provider":
		if k.provider != "" {
			return []byte(k.provider), nil
		}
		return []byte("sev_guest\n"), nil
	case "outblob":
		time.Sleep(k.wait)
		if k.busy > 0 {
			k.busy--
			return nil, &os.PathError{Op: "read", Path: path, Err: syscall.EBUSY}
		}
		if k.intruder > 0 {
			k.intruder--
			e.generation++
		}
		b := snptest.Machine{Line: snp.Milan}.Report()
		copy(b[snptest.ReportData:], e.data[:])
		if e.level != "0" {
			return nil, syscall.EINVAL
		}
		if k.change != nil {
			b = k.change(b)
		}
		return b, nil
	}
	return nil, os.ErrNotExist
}

func device(t *testing.T, k *kernel) *Device {
	return &Device{shadow: filepath.Join(t.TempDir(), "run", "snp-events"), reports: k}
}

func TestQuote(t *testing.T) {
	tests := []struct {
		name    string
		kernel  kernel
		made    int // requests
		wantErr string
	}{
		{"plain", kernel{}, 1, ""},
		{"busy for a moment", kernel{busy: 2}, 3, ""},
		{"busy", kernel{busy: 3}, 3, "device or resource busy"},
		{"somebody writes to the request", kernel{intruder: 1}, 2, ""},
		{"somebody always does", kernel{intruder: 9}, 3, "changed while it was answered: generation is 10, want 9"},
		{"a page with zeros behind the report", kernel{change: func(b []byte) []byte { return append(b, make([]byte, 2816)...) }}, 1, ""},
		{"short", kernel{change: func(b []byte) []byte { return b[:len(b)-1] }}, 1, "report has 1183 bytes, want 1184"},
		{"empty", kernel{change: func([]byte) []byte { return nil }}, 1, "report has 0 bytes"},
		{"about something else", kernel{change: func(b []byte) []byte { b[snptest.ReportData]++; return b }}, 1, "about other data"},
		{"of another level", kernel{change: func(b []byte) []byte { b[snptest.VMPL] = 2; return b }}, 1, "VMPL 2, want 0"},
		{"another TEE answers", kernel{provider: "tdx_guest\n"}, 1, `provider is "tdx_guest\n"`},
		{"below an SVSM", kernel{floor: "2"}, 1, "runs at level 2, want 0"},
		{"no generation", kernel{fail: "generation"}, 1, "read generation"},
		{"no inblob", kernel{fail: "inblob"}, 1, "write inblob"},
		{"no outblob", kernel{fail: "outblob"}, 1, "read outblob"},
		{"no request", kernel{fail: "mkdir"}, 0, "make a request"},
		{"request stays", kernel{kept: true}, 3, "remove the request"},
		{"host never answers", kernel{wait: time.Second}, 1, "deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			data := [64]byte{5}
			ev, err := device(t, &tt.kernel).Quote(ctx, data)
			if errors.Is(err, context.DeadlineExceeded) && tt.kernel.wait > 0 {
				return // the kernel is still being waited for: nothing to look at
			}
			if tt.kernel.made != tt.made || len(tt.kernel.entries) != 0 && !tt.kernel.kept {
				t.Errorf("%d requests were made, want %d; %d are left", tt.kernel.made, tt.made, len(tt.kernel.entries))
			}
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error is %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || ev.TEE != vm.SNP || len(ev.Quote) != snp.ReportSize || ev.Events != nil || ev.AMD != nil {
				t.Fatalf("evidence is %+v, %v", ev, err)
			}
			report, err := snp.Decode(ev.Quote)
			if err != nil || report.ReportData != data {
				t.Errorf("the verifier reads %x, %v", report.ReportData, err)
			}
		})
	}
}

// What Read calls MR_CONFIG_ID is HOST_DATA as verifiers decode it.
func TestReadSaysHostData(t *testing.T) {
	k := &kernel{}
	d := device(t, k)
	for range 2 {
		m, err := d.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		report, err := snp.Decode(snptest.Machine{Line: snp.Milan}.Report())
		if err != nil {
			t.Fatal(err)
		}
		want := vm.Measurement{}
		copy(want.MRConfigID[:], report.HostData[:])
		if m != want {
			t.Errorf("measurement is %+v, want %+v", m, want)
		}
	}
	if k.made != 1 {
		t.Errorf("%d reports were made for what never changes", k.made)
	}
	if _, err := device(t, &kernel{fail: "outblob"}).Read(t.Context()); err == nil {
		t.Error("a device without reports has a measurement")
	}
}

// Events fold as in RTMR3, and the next stage finds them; no report moves.
func TestExtendKeepsTheList(t *testing.T) {
	d := device(t, &kernel{})
	before, err := d.Quote(t.Context(), [64]byte{})
	if err != nil {
		t.Fatal(err)
	}
	events := []vm.Event{vm.RuntimeEvent("one", nil), vm.RuntimeEvent("two", []byte("2"))}
	for _, e := range events {
		if err := d.Extend(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	want, err := vm.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	m, err := (&Device{shadow: d.shadow, reports: d.reports}).Read(t.Context())
	if err != nil || m.RTMR != want {
		t.Errorf("registers are %v, %v, want %v", m.RTMR, err, want)
	}
	after, err := d.Quote(t.Context(), [64]byte{})
	if err != nil || !bytes.Equal(before.Quote, after.Quote) {
		t.Errorf("an event moved the report: %v", err)
	}
}

func TestExtendErrors(t *testing.T) {
	forged := vm.RuntimeEvent("one", nil)
	forged.Register = 2
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	short := device(t, &kernel{})
	if err := os.MkdirAll(filepath.Dir(short.shadow), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(short.shadow, make([]byte, 47), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		ctx     context.Context
		device  *Device
		event   vm.Event
		wantErr string
	}{
		{"launch register", t.Context(), device(t, &kernel{}), forged, "want RTMR3"},
		{"cancelled", cancelled, device(t, &kernel{}), vm.RuntimeEvent("one", nil), "context canceled"},
		{"damaged", t.Context(), short, vm.RuntimeEvent("one", nil), "47 bytes, want 48"},
		{"nowhere to keep it", t.Context(), &Device{shadow: "/proc/no/where"}, vm.RuntimeEvent("one", nil), "keep SNP event"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.device.Extend(tt.ctx, tt.event); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}
