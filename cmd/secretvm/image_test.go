package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImageCommandsRefuseWithAHint(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "base.yaml")
	if err := os.WriteFile(bad, []byte("colour: green\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		wantErr string
	}{
		{"argument", []string{"image", "build", "now"}, exitUsage, "image build --help"},
		{"no-cache into the cache", []string{"image", "build", "--no-cache"}, exitUsage, "--no-cache needs --output"},
		{"mirror without archive", []string{"image", "build", "--mirror", "http://a.example"}, exitUsage, "want debian=http"},
		{"source without sources", []string{"image", "build", "--source", t.TempDir()}, exitRefused, "--source"},
		{"lock away from the tree", []string{"image", "lock", "--spec", filepath.Join(t.TempDir(), "none.yaml")}, exitUsage, "name --spec"},
		{"lock of nonsense", []string{"image", "lock", "--spec", bad}, exitRefused, "colour"},
		{"lock without a mirror's name", []string{"image", "lock", "--spec", specPath, "--lock", filepath.Join(t.TempDir(), "l"), "--mirror", "debian"}, exitUsage, "want debian=http"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			var out, errs bytes.Buffer
			code := run(t.Context(), c.args, strings.NewReader(""), &out, &errs)
			if code != c.code || !strings.Contains(errs.String(), c.wantErr) {
				t.Errorf("exit code %d and %q, want %d and %q", code, errs.String(), c.code, c.wantErr)
			}
		})
	}
}

const specPath = "../../image/specs/base.yaml"

// A mirror that answers with something else than a signed Release file changes
// nothing.
func TestImageLockKeepsTheLockWhenNoMirrorCanBeTrusted(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "base.lock.json")
	before := []byte("{\"version\":1,\"suites\":null,\"groups\":null}\n")
	if err := os.WriteFile(lock, before, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRETVM_MIRRORS", "debian=http://127.0.0.1:1/debian debian-security=http://127.0.0.1:1/debian-security")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"image", "lock", "--spec", specPath, "--lock", lock}, strings.NewReader(""), &out, &errs)
	if code != exitRefused || !strings.Contains(errs.String(), "read suite trixie") {
		t.Errorf("exit code %d and %q", code, errs.String())
	}
	after, err := os.ReadFile(lock)
	if err != nil || !bytes.Equal(after, before) {
		t.Errorf("the lock was changed to %q (%v)", after, err)
	}
}

// Firmware is ours byte for byte, or it is not taken.
func TestFirmwareIsRefused(t *testing.T) {
	other := filepath.Join(t.TempDir(), "OVMF.fd")
	if err := os.WriteFile(other, []byte("firmware"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, variable string
		args           []string
		code           int
		wantErr        string
	}{
		{"unknown TEE", "", []string{"image", "firmware", "build", "--tee", "sgx"}, exitUsage, "want tdx (for the soft TEE too) or snp"},
		{"another file", "", []string{"image", "firmware", "build", "--firmware", other}, exitRefused, "this release's is"},
		{"another file by the environment", other, []string{"image", "firmware", "build", "--tee", "snp"}, exitRefused, "this release's is"},
		{"another file for an image", "", []string{"image", "build", "--firmware", other}, exitRefused, "this release's is"},
		{"no file", "", []string{"image", "build", "--firmware", other + "x"}, exitRefused, "no such file"},
		{"no specification", "", []string{"image", "firmware", "lock", "--spec", other + "x"}, exitUsage, "--spec and --lock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			t.Setenv("SECRETVM_FIRMWARE", c.variable)
			var out, errs bytes.Buffer
			code := run(t.Context(), c.args, strings.NewReader(""), &out, &errs)
			if code != c.code || !strings.Contains(errs.String(), c.wantErr) {
				t.Errorf("exit code %d and %q, want %d and %q", code, errs.String(), c.code, c.wantErr)
			}
		})
	}
}

// So is the kernel.
func TestKernelIsRefused(t *testing.T) {
	other := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(other, []byte("kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, variable string
		args           []string
		code           int
		wantErr        string
	}{
		{"another file", "", []string{"image", "kernel", "build", "--kernel", other}, exitRefused, "this release's is"},
		{"another file by the environment", other, []string{"image", "kernel", "build"}, exitRefused, "secretvm image kernel build"},
		{"another file for an image", "", []string{"image", "build", "--kernel", other}, exitRefused, "this release's is"},
		{"the environment, for an image", other, []string{"image", "build", "--kernel", "minimal"}, exitRefused, "this release's is"},
		{"no file", "", []string{"image", "build", "--kernel", other + "x"}, exitRefused, "no such file"},
		{"no specification", "", []string{"image", "kernel", "lock", "--spec", other + "x"}, exitUsage, "--spec and --lock"},
		{"an argument", "", []string{"image", "kernel", "build", "now"}, exitUsage, "kernel build --help"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			t.Setenv("SECRETVM_KERNEL", c.variable)
			var out, errs bytes.Buffer
			code := run(t.Context(), c.args, strings.NewReader(""), &out, &errs)
			if code != c.code || !strings.Contains(errs.String(), c.wantErr) {
				t.Errorf("exit code %d and %q, want %d and %q", code, errs.String(), c.code, c.wantErr)
			}
		})
	}
}
