package blockdev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func attach(t *testing.T, sysfs, disk, serial string) {
	t.Helper()
	dir := filepath.Join(sysfs, disk)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "serial"), []byte(serial), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	tests := []struct {
		name    string
		disks   map[string]string
		want    string
		wantErr string
	}{
		{"among others", map[string]string{"vda": "rootfs", "vdb": "config"}, "/dev/vdb", ""},
		{"with a newline", map[string]string{"vda": "config\n"}, "/dev/vda", ""},
		{"beginning alike", map[string]string{"vda": "config2", "vdb": "confi"}, "", "does not exist"},
		{"another kind of disk", map[string]string{"sda": "config"}, "", "does not exist"},
		{"none", nil, "", `disk with serial "config"`},
		{"two", map[string]string{"vda": "config", "vdc": "config"}, "", "disks vda and vdc both have"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sysfs := t.TempDir()
			for disk, serial := range tt.disks {
				attach(t, sysfs, disk, serial)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			got, err := find(ctx, sysfs, "/dev", Config)
			if (err == nil) != (tt.wantErr == "") || (err != nil && !strings.Contains(err.Error(), tt.wantErr)) {
				t.Fatalf("error is %v, want %q", err, tt.wantErr)
			}
			if got != tt.want {
				t.Errorf("disk is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFindWaits(t *testing.T) {
	sysfs := t.TempDir()
	time.AfterFunc(30*time.Millisecond, func() {
		hidden := filepath.Join(sysfs, "new")
		_ = os.MkdirAll(hidden, 0o755)
		_ = os.WriteFile(filepath.Join(hidden, "serial"), []byte(Data), 0o644)
		_ = os.Rename(hidden, filepath.Join(sysfs, "vda")) // whole at once, as in sysfs
	})
	got, err := find(t.Context(), sysfs, "/dev", Data)
	if err != nil || got != "/dev/vda" {
		t.Errorf("disk is %q, %v", got, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := find(cancelled, t.TempDir(), "/dev", Data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cancelled search gives %v", err)
	}
}
