package workload

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func tarOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range headers {
		content := []byte("content of " + h.Name)
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			_, _ = w.Write(content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	err := unpack(dir, tarOf(t, &tar.Header{Name: "conf/", Typeflag: tar.TypeDir, Mode: 0o755},
		&tar.Header{Name: "conf/app.ini", Typeflag: tar.TypeReg}, &tar.Header{Name: "run.sh", Typeflag: tar.TypeReg, Mode: 0o755},
		&tar.Header{Name: "deep/er/file", Typeflag: tar.TypeReg}))
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"conf/app.ini": 0o644, "run.sh": 0o755, "deep/er/file": 0o644} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		info, statErr := os.Stat(filepath.Join(dir, name))
		if err != nil || statErr != nil || string(b) != "content of "+name || info.Mode() != mode {
			t.Errorf("%s: %q, %v, %v", name, b, info, err)
		}
	}
}

// TestB2_FilesStayInTheirFolder: no entry of the archive writes anywhere else,
// or takes the compose file's place.
func TestB2_FilesStayInTheirFolder(t *testing.T) {
	reg := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeReg} }
	for _, tt := range []struct {
		name    string
		entries []*tar.Header
	}{
		{"parent", []*tar.Header{reg("../evil")}},
		{"parent inside", []*tar.Header{reg("a/../../evil")}},
		{"absolute", []*tar.Header{reg("/evil")}},
		{"symbolic link", []*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}}},
		{"hard link", []*tar.Header{{Name: "l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}},
		{"device", []*tar.Header{{Name: "d", Typeflag: tar.TypeBlock, Devmajor: 253}}},
		{"twice", []*tar.Header{reg("a"), reg("a")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "workload")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unpack(dir, tarOf(t, tt.entries...)); err == nil {
				t.Error("no error")
			}
			if _, err := os.Stat(filepath.Join(outer, "evil")); err == nil {
				t.Error("a file was written outside")
			}
		})
	}
	e := NewEngine(Folders{Run: t.TempDir()}, nil, func(string) {})
	dir := filepath.Join(t.TempDir(), "workload")
	if _, err := e.Project("p", dir, []byte("services: {}\n# byte for byte\n"), tarOf(t, reg("docker-compose.yaml"), reg(".env"))); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(dir + ".yaml"); string(b) != "services: {}\n# byte for byte\n" {
		t.Errorf("the compose file is %q", b)
	}
	if _, err := e.Project("p", filepath.Join(t.TempDir(), "w"), nil, []byte("no tar")); err == nil || !strings.Contains(err.Error(), "unpack") {
		t.Errorf("a broken archive: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, &tar.Header{Name: "a/b", Typeflag: tar.TypeReg}))
	f.Add(tarOf(f, &tar.Header{Name: "../b", Typeflag: tar.TypeReg}, &tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}))
	f.Fuzz(func(t *testing.T, b []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		_ = os.Mkdir(dir, 0o755)
		_ = unpack(dir, b)
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Error("something was written outside")
		}
	})
}
