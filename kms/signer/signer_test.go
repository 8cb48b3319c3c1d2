package signer

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "owner.json")
	a, err := New()
	must(t, err)
	must(t, a.Save(path))
	must(t, a.Save(path)) // replaced whole
	again, err := Load(path)
	must(t, err)
	if again.Address != a.Address || !again.key.Equals(a.key) || !strings.HasPrefix(a.Address, "svm1") {
		t.Errorf("read back %s, want %s", again.Address, a.Address)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("%d files, want the key alone", len(entries))
	}
}

func TestDamagedKeyFiles(t *testing.T) {
	a, err := New()
	must(t, err)
	b, err := New()
	must(t, err)
	secret := hex.EncodeToString(a.key.Key)
	for _, tt := range []struct {
		name, content string
		mode          os.FileMode
		wantErr       string
	}{
		{"not JSON", "secret: " + secret, 0o600, "not what init writes"},
		{"short key", `{"address":"` + a.Address + `","secret":"` + secret[2:] + `"}`, 0o600, "no key of 32 bytes"},
		{"another's address", `{"address":"` + b.Address + `","secret":"` + secret + `"}`, 0o600, "not " + b.Address},
		{"open to the group", `{"address":"` + a.Address + `","secret":"` + secret + `"}`, 0o640, "want 0600"},
		{"empty", "", 0o600, "not what init writes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key.json")
			must(t, os.WriteFile(path, []byte(tt.content), tt.mode))
			_, err := Load(path)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want %q", err, tt.wantErr)
			}
			if strings.Contains(err.Error(), secret[2:]) {
				t.Error("the error shows the key")
			}
		})
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	a, err := New()
	must(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if text := fmt.Sprintf(verb, a); text != a.Address {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
