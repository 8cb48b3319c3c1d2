package tdx

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"

	"github.com/secretvm/secretvm/vm"
)

// folder stands in for the registers' folder in sysfs: plain files, which keep
// what was written instead of extending.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range []string{"mrtd:sha384", "mrconfigid", "rtmr0:sha384", "rtmr1:sha384", "rtmr2:sha384", "rtmr3:sha384"} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte{byte(i + 1)}, 48), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRead(t *testing.T) {
	dir := folder(t)
	d := &Device{registers: dir}
	m, err := d.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.MRTD[0] != 1 || m.MRConfigID[47] != 2 || m.RTMR[0][0] != 3 || m.RTMR[3][0] != 6 {
		t.Errorf("registers are mixed up: %+v", m)
	}
	if err := os.WriteFile(filepath.Join(dir, "mrtd:sha384"), make([]byte, 47), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "47 bytes, want 48") {
		t.Errorf("short register gives %v", err)
	}
}

// TestExtendChecksTheRegister: a write that does not come out as an extension,
// as here where the file is a plain one, is an error.
func TestExtendChecksTheRegister(t *testing.T) {
	dir := folder(t)
	d := &Device{registers: dir}
	event := vm.RuntimeEvent("one", nil)
	err := d.Extend(t.Context(), event)
	if err == nil || !strings.Contains(err.Error(), "the register reads "+event.Digest.String()) {
		t.Errorf("plain file gives %v", err)
	}
	written, _ := os.ReadFile(filepath.Join(dir, "rtmr3:sha384"))
	if !bytes.Equal(written, event.Digest[:]) {
		t.Errorf("%x was written, want the event's digest", written)
	}
}

func TestExtendErrors(t *testing.T) {
	forged := vm.RuntimeEvent("one", nil)
	forged.Register = 2
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		ctx     context.Context
		dir     string
		event   vm.Event
		wantErr string
	}{
		{"launch register", t.Context(), folder(t), forged, "want RTMR3"},
		{"no such register", t.Context(), t.TempDir(), vm.RuntimeEvent("one", nil), "no such file"},
		{"cancelled", cancelled, folder(t), vm.RuntimeEvent("one", nil), "context canceled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := (&Device{registers: tt.dir}).Extend(tt.ctx, tt.event)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tt.wantErr)
			}
		})
	}
}

// quoter stands in for configfs-tsm, with the quote and provider given.
func quoter(quote []byte, name string, wait time.Duration) configfsi.Client {
	return &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": &faketsm.ReportSubsystem{
		Random: rand.Reader,
		MakeEntry: func() *faketsm.ReportEntry {
			return &faketsm.ReportEntry{InAttrs: map[string]*faketsm.ReportAttributeState{"inblob": {}}}
		},
		ReadAttr: func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
			switch attr {
			case "outblob":
				time.Sleep(wait)
				if quote == nil {
					return nil, errors.New("the quoting service is away")
				}
				return append(bytes.Clone(e.InAttrs["inblob"].Value), quote...), nil
			case "provider":
				return []byte(name), nil
			}
			return nil, os.ErrNotExist
		},
		CheckInAttr: func(_ *faketsm.ReportEntry, attr string, contents []byte) error {
			if attr != "inblob" || len(contents) != 64 {
				return fmt.Errorf("%s of %d bytes", attr, len(contents))
			}
			return nil
		},
	}}}
}

func TestQuote(t *testing.T) {
	tests := []struct {
		name     string
		quote    []byte
		provider string
		wait     time.Duration
		wantErr  string
	}{
		{"plain", []byte("quote"), "tdx_guest\n", 0, ""},
		{"another TEE answers", []byte("quote"), "sev_guest\n", 0, `provider is "sev_guest\n"`},
		{"oversize", make([]byte, vm.MaxQuoteSize), "tdx_guest\n", 0, "quote has 16448 bytes"},
		{"failure", nil, "tdx_guest\n", 0, "the quoting service is away"},
		{"host never answers", []byte("quote"), "tdx_guest\n", time.Second, "deadline exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			data := [64]byte{5}
			ev, err := (&Device{quotes: quoter(tt.quote, tt.provider, tt.wait)}).Quote(ctx, data)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error is %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || ev.TEE != vm.TDX || !bytes.Equal(ev.Quote, append(data[:], tt.quote...)) || ev.Collateral != nil {
				t.Errorf("evidence is %+v, %v", ev, err)
			}
		})
	}
}
