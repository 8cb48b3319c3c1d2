// Package guestbook_test holds the example to its promises with the real
// programs, taken out of the real images.
package guestbook_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/oci"
	"github.com/secretvm/secretvm/image/pool"
)

// build builds the example's images from packages in the cache; without them
// the test is skipped, for it uses no network. A fresh build finds no images in
// the cache.
func build(t *testing.T, fresh bool) *oci.Store {
	t.Helper()
	locked, err := image.BaseLock()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "packages")
	group, err := locked.Group(lock.Example)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range group {
		if _, err := os.Stat(filepath.Join(dir, p.SHA256.String()+".deb")); err != nil {
			t.Skipf("package %s is not in the cache: run secretvm oci build examples/guestbook first", p.Name)
		}
	}
	if fresh {
		cache = t.TempDir()
	}
	store, err := oci.Build(t.Context(), oci.Options{
		Folder: ".", CacheDir: cache, Lock: locked, Pool: &pool.Pool{Dir: dir, Client: fetch.New("")}, Note: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestComposeFileNamesTheImagesThatAreBuilt(t *testing.T) {
	w, err := compose.Read(".")
	if err != nil {
		t.Fatal(err)
	}
	if w.Settings.Service != "guestbook" || w.Settings.Images != "digest" {
		t.Errorf("settings are %+v", w.Settings)
	}
	if p := w.Ports(); len(p) != 1 || p[0].Host != 8080 || p[0].Container != 8080 {
		t.Errorf("published ports are %+v, want 8080", p)
	}
	first, second := build(t, true), build(t, false)
	for i := range first.Images {
		if first.Images[i] != second.Images[i] {
			t.Errorf("two builds differ: %+v, %+v", first.Images[i], second.Images[i])
		}
	}
	if err := first.Check(w.Services, w.Pins); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(first.Pin(w.Compose), w.Compose) {
		t.Error("the compose file names other digests than those that are built")
	}
}

// The two programs, run without any container: entries are stored, listed, kept
// over a restart, escaped on the page and refused from other sites.
func TestGuestBook(t *testing.T) {
	store := build(t, false)
	root := t.TempDir()
	web, valkey := unpack(t, store, "guestbook/web", root), unpack(t, store, "guestbook/valkey", root)
	data := t.TempDir()
	database, listen := freeAddress(t), freeAddress(t)
	_, port, err := net.SplitHostPort(database)
	if err != nil {
		t.Fatal(err)
	}
	startDatabase := func() *exec.Cmd {
		libraries := filepath.Join(valkey, "usr/lib/x86_64-linux-gnu")
		return start(t, nil, filepath.Join(libraries, "ld-linux-x86-64.so.2"), "--library-path", libraries, filepath.Join(valkey, "usr/bin/valkey-server"),
			"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", data, "--bind", "127.0.0.1", "--port", port)
	}
	base := "http://" + listen
	program := filepath.Join(web, "web")
	server := start(t, []string{"DATABASE=" + database}, program, "-listen", listen)
	if err := exec.Command(program, "-check", "-listen", listen).Run(); err == nil {
		t.Error("the health check passes without a database")
	}
	db := startDatabase()
	await(t, base+"/healthz")
	if out, err := exec.Command(program, "-check", "-listen", listen).CombinedOutput(); err != nil {
		t.Errorf("health check: %v\n%s", err, out)
	}

	const evil = `<script>alert("x")</script>`
	for _, c := range []struct {
		name, path, kind, origin, body string
		want                           int
	}{
		{"JSON", "/api/entries", "application/json", "", `{"name":"Ada","message":"first"}`, 201},
		{"form", "/", "application/x-www-form-urlencoded", base, url.Values{"name": {"Eve"}, "message": {evil}}.Encode(), 200},
		{"A4: form of another site", "/", "application/x-www-form-urlencoded", "https://evil.example", "name=a&message=b", 403},
		{"A4: JSON of another site", "/api/entries", "application/json", "https://evil.example", `{"name":"a","message":"b"}`, 403},
		{"JSON as text", "/api/entries", "text/plain", "", `{"name":"a","message":"b"}`, 415},
		{"unknown field", "/api/entries", "application/json", "", `{"nane":"a"}`, 400},
		{"two documents", "/api/entries", "application/json", "", `{"name":"a","message":"b"}{}`, 400},
		{"no name", "/api/entries", "application/json", "", `{"message":"b"}`, 422},
		{"K8: long", "/api/entries", "application/json", "", `{"name":"a","message":"` + strings.Repeat("x", 1001) + `"}`, 422},
		{"K8: huge", "/api/entries", "application/json", "", `{"name":"a","message":"` + strings.Repeat("x", 1<<20) + `"}`, 400},
		{"empty form", "/", "application/x-www-form-urlencoded", base, "name=&message=", 422},
	} {
		if got := post(t, base+c.path, c.kind, c.origin, c.body); got != c.want {
			t.Errorf("%s: status is %d, want %d", c.name, got, c.want)
		}
	}

	page := get(t, base+"/")
	if strings.Contains(page, evil) || !strings.Contains(page, "&lt;script&gt;") || !strings.Contains(page, "2 entries") {
		t.Errorf("page is\n%s", page)
	}

	// A power cut of the database: what was accepted is there.
	if err := errors.Join(db.Process.Kill(), ignoreExit(db.Wait())); err != nil {
		t.Fatal(err)
	}
	startDatabase()
	await(t, base+"/healthz")
	var entries []struct{ Name, Message string }
	if err := json.Unmarshal([]byte(get(t, base+"/api/entries")), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Message != evil || entries[1].Name != "Ada" {
		t.Errorf("entries after the restart are %+v", entries)
	}
	if err := errors.Join(server.Process.Signal(syscall.SIGTERM), server.Wait()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// unpack writes an image's layers to a folder and returns it.
func unpack(t *testing.T, store *oci.Store, repository, root string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(store.Dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, filepath.Base(repository))
	for i, b := range store.Images {
		if b.Repository != repository {
			continue
		}
		img, err := index.Image(list.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			r, err := l.Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			untar(t, r, dir)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func untar(t *testing.T, r io.Reader, dir string) {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(path, b, os.FileMode(h.Mode).Perm())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// start runs a program until the test ends.
func start(t *testing.T, env []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append([]string{"PATH=/nonexistent"}, env...)
	log := &bytes.Buffer{}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if c.ProcessState == nil {
			_ = c.Wait() // it was killed
		}
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), log)
		}
	})
	return c
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// freeAddress returns a loopback address that nobody listens on right now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func await(t *testing.T, address string) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(address)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("status %s", res.Status)
		}
		last = err
	}
	t.Fatalf("%s does not answer: %v", address, last)
}

func get(t *testing.T, address string) string {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: status %s, %v", address, res.Status, err)
	}
	return string(body)
}

func post(t *testing.T, address, kind, origin, body string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
