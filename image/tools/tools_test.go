package tools

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeSet has shell scripts in the places of the loader and of the programs:
// what is tested is how they are called, not what they do.
func fakeSet(t *testing.T, programs map[string]string) *Set {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("this machine has no /bin/sh")
	}
	s := &Set{root: t.TempDir()}
	// The loader's part: skip --library-path and its value, run the program.
	all := map[string]string{loader: `shift 2; exec "$@"`}
	for name, script := range programs {
		all[name] = script
	}
	for name, script := range all {
		if err := os.MkdirAll(filepath.Dir(s.Path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.Path(name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestCommandRunsThroughTheLoader(t *testing.T) {
	s := fakeSet(t, map[string]string{"usr/sbin/veritysetup": `echo "$0" "$@"`})
	c := s.Command(t.Context(), "veritysetup", "verify", "a b")
	if c.Path != s.Path(loader) || c.Args[1] != "--library-path" || c.Args[2] != s.Path(libraries) {
		t.Errorf("command is %q", c.Args)
	}
	out, err := c.Output()
	if err != nil || string(out) != s.Path("usr/sbin/veritysetup")+" verify a b\n" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestCommandTellsQEMUWhereItsFilesAre(t *testing.T) {
	s := fakeSet(t, nil)
	c := s.Command(t.Context(), "qemu-system-x86_64", "-version")
	i := slices.Index(c.Args, "-L")
	if i < 0 || c.Args[i+1] != s.Path(qemuData) || c.Args[len(c.Args)-1] != "-version" {
		t.Errorf("command is %q", c.Args)
	}
	if !slices.Contains(c.Env, "QEMU_MODULE_DIR="+s.Path(qemuModule)) {
		t.Error("QEMU_MODULE_DIR is missing")
	}
	if err := c.Run(); err == nil {
		t.Error("a program that is not there ran")
	}
}

func TestDecompressor(t *testing.T) {
	for _, c := range []struct {
		name, script, want, wantErr string
	}{
		{"good", "tr a-z A-Z", "HELLO", ""},
		{"damaged", "head -c 2; echo 'Compressed data is corrupt' >&2; exit 1", "he", "Compressed data is corrupt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fakeSet(t, map[string]string{"usr/bin/xz": c.script})
			r, err := s.Decompressor(t.Context())("data.tar.xz", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if string(got) != c.want || (c.wantErr == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("read %q, %v; want %q and an error about %q", got, err, c.want, c.wantErr)
			}
			if err := r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Run("closed early", func(t *testing.T) {
		s := fakeSet(t, map[string]string{"usr/bin/xz": "exec sleep 60"})
		r, err := s.Decompressor(t.Context())("data.tar.xz", bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("read after close")
		}
	})
}
