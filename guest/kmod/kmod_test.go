package kmod

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLoadList(t *testing.T) {
	tests := []struct {
		name       string
		list       string
		answers    map[string]error
		wantTried  []string
		wantLoaded int
		wantErr    string
	}{
		{"in order", "/m/b.ko\n/m/a.ko\n", nil, []string{"/m/b.ko", "/m/a.ko"}, 2, ""},
		{"no newline at the end", "/m/a.ko", nil, []string{"/m/a.ko"}, 1, ""},
		{"empty lines", "\n /m/a.ko \n\n", nil, []string{"/m/a.ko"}, 1, ""},
		{"empty", "", nil, nil, 0, ""},
		{"loaded already", "/m/a.ko\n/m/b.ko", map[string]error{"/m/a.ko": unix.EEXIST}, []string{"/m/a.ko", "/m/b.ko"}, 1, ""},
		{"no such device", "/m/tdx.ko\n/m/b.ko", map[string]error{"/m/tdx.ko": fmt.Errorf("x: %w", unix.ENODEV)}, []string{"/m/tdx.ko", "/m/b.ko"}, 1, ""},
		{"goes on after an error", "/m/a.ko\n/m/b.ko", map[string]error{"/m/a.ko": unix.EKEYREJECTED}, []string{"/m/a.ko", "/m/b.ko"}, 1, "load module a.ko: key was rejected"},
		{"missing file", "/m/a.ko", map[string]error{"/m/a.ko": os.ErrNotExist}, []string{"/m/a.ko"}, 0, "file does not exist"},
		{"relative path", "a.ko", nil, nil, 0, `"a.ko" is not a clean absolute path`},
		{"path with dots", "/m/../a.ko", nil, nil, 0, "is not a clean absolute path"},
		{"oversize", strings.Repeat("/m/a.ko\n", maxList/8+1), nil, nil, 0, "want at most 65536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "modules.list")
			if err := os.WriteFile(path, []byte(tt.list), 0o600); err != nil {
				t.Fatal(err)
			}
			var tried []string
			loaded, err := loadList(path, func(m string) error {
				tried = append(tried, m)
				return tt.answers[m]
			})
			if (err == nil) != (tt.wantErr == "") || (err != nil && !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error is %v, want %q", err, tt.wantErr)
			}
			if loaded != tt.wantLoaded || !slices.Equal(tried, tt.wantTried) {
				t.Errorf("tried %q, loaded %d, want %q and %d", tried, loaded, tt.wantTried, tt.wantLoaded)
			}
		})
	}
	if _, err := LoadList(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a list that does not exist was read")
	}
}

func TestFlags(t *testing.T) {
	for path, want := range map[string]int{"/m/a.ko": 0, "/m/a.ko.xz": 4, "/m/a.ko.zst": 4, "/m/a.xz.ko": 0} {
		if got := flags(path); got != want {
			t.Errorf("flags of %s are %d, want %d", path, got, want)
		}
	}
}
