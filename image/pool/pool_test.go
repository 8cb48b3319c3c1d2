package pool

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// debBytes is a package of one file.
func debBytes(t *testing.T, name string) []byte {
	t.Helper()
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "./usr/bin/" + name, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out := []byte("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"data.tar", data.Bytes()}} {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, 0, 0, 0, "100644", len(m.data), m.data)
	}
	return out
}

func setUp(t *testing.T, served map[string][]byte) (*Pool, lock.Package) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, ok := served[strings.TrimPrefix(r.URL.Path, "/debian/")]; ok {
			_, _ = w.Write(b)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	b := debBytes(t, "tool")
	p := &Pool{
		Dir: filepath.Join(t.TempDir(), "packages"), Client: &fetch.Client{Pause: time.Millisecond},
		Mirrors: archive.Mirrors{archive.Debian: {server.URL + "/debian"}},
	}
	return p, lock.Package{Name: "tool", Version: "1", Arch: "amd64", Archive: archive.Debian, Path: "pool/tool.deb", Size: int64(len(b)), SHA256: vm.HashOf(b)}
}

func TestFetchAndUnpack(t *testing.T) {
	served := map[string][]byte{"pool/tool.deb": debBytes(t, "tool")}
	p, pkg := setUp(t, served)
	n, err := p.Fetch(t.Context(), []lock.Package{pkg})
	if err != nil || n != pkg.Size {
		t.Fatalf("downloaded %d bytes, %v; want %d", n, err, pkg.Size)
	}
	delete(served, "pool/tool.deb")
	if n, err = p.Fetch(t.Context(), []lock.Package{pkg}); err != nil || n != 0 {
		t.Errorf("the second time downloaded %d bytes, %v; want it from the cache", n, err)
	}
	dir := filepath.Join(t.TempDir(), "tools", "x")
	for range 2 { // the second finds the folder there
		if err := p.Unpack(t.Context(), []lock.Package{pkg}, dir); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "usr/bin/tool")); err != nil || info.Mode() != 0o755 {
		t.Errorf("unpacked file: %v, %v", info, err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("%d entries beside the folder (%v), want none", len(left)-1, err)
	}
}

func TestFetchRefusesCorruptedDownload(t *testing.T) {
	b := debBytes(t, "tool")
	b[len(b)-1] ^= 1
	p, pkg := setUp(t, map[string][]byte{"pool/tool.deb": b})
	if _, err := p.Fetch(t.Context(), []lock.Package{pkg}); err == nil || !strings.Contains(err.Error(), "the lock file says "+pkg.SHA256.String()) {
		t.Errorf("error is %v, want one about the SHA-256", err)
	}
	if left, err := os.ReadDir(p.Dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are in the cache (%v), want none", len(left), err)
	}
}

func TestFetchNamesImageLockWhenThePackageIsGone(t *testing.T) {
	p, pkg := setUp(t, nil)
	_, err := p.Fetch(t.Context(), []lock.Package{pkg})
	if err == nil || !strings.Contains(err.Error(), "secretvm image lock") || !strings.Contains(err.Error(), "tool_1_amd64") {
		t.Errorf("error is %v, want one that names the package and secretvm image lock", err)
	}
}

func TestReadRefusesAlteredCache(t *testing.T) {
	p, pkg := setUp(t, map[string][]byte{"pool/tool.deb": debBytes(t, "tool")})
	if _, err := p.Fetch(t.Context(), []lock.Package{pkg}); err != nil {
		t.Fatal(err)
	}
	b := debBytes(t, "evil")
	if err := os.WriteFile(p.path(pkg), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(pkg); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("error is %v, want one about the SHA-256", err)
	}
	// The damaged file is gone, and the next build mends the cache.
	if n, err := p.Fetch(t.Context(), []lock.Package{pkg}); err != nil || n != pkg.Size {
		t.Errorf("then downloaded %d bytes, %v", n, err)
	}
}
