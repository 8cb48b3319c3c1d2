package registry_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/secretvm/secretvm/host/registry"
)

// serve starts a registry with one image, app/web.
func serve(t *testing.T) (s *registry.Server, digest v1.Hash, dir string) {
	t.Helper()
	image, err := random.Image(100_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	out, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "app/web"})); err != nil {
		t.Fatal(err)
	}
	if digest, err = image.Digest(); err != nil {
		t.Fatal(err)
	}
	if s, err = registry.Start(dir, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, digest, dir
}

// Pull as a client does: manifest by digest, then what it names, all checked.
func TestPull(t *testing.T) {
	s, digest, _ := serve(t)
	get := func(kind string, d v1.Descriptor) []byte {
		t.Helper()
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/v2/app/web/%s/%s", s.Port(), kind, d.Digest))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: status %d, %v", kind, d.Digest, res.StatusCode, err)
		}
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != d.Digest.Hex || d.Size > 0 && int64(len(body)) != d.Size {
			t.Fatalf("%s %s: the body has another digest or size", kind, d.Digest)
		}
		if got := res.Header.Get("Content-Type"); d.MediaType != "" && got != string(d.MediaType) {
			t.Fatalf("%s %s: content type is %s, want %s", kind, d.Digest, got, d.MediaType)
		}
		return body
	}
	raw := get("manifests", v1.Descriptor{Digest: digest, MediaType: types.DockerManifestSchema2})
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil || len(m.Layers) != 2 {
		t.Fatalf("manifest is %s (%v)", raw, err)
	}
	for _, d := range append(m.Layers, m.Config) {
		d.MediaType = "application/octet-stream"
		get("blobs", d)
	}
}

func TestReadOnlyAndNothingElse(t *testing.T) {
	s, digest, dir := serve(t)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v2/", 200},
		{"HEAD", "/v2/app/web/manifests/" + digest.String(), 200},
		{"GET", "/", 404},
		{"GET", "/v2/app/web/manifests/latest", 404},
		{"GET", "/v2/other/manifests/" + digest.String(), 404},
		{"GET", "/v2/app/web/blobs/" + digest.String(), 404}, // a manifest is no blob
		{"GET", "/v2/app/web/blobs/../../../secret", 404},
		{"GET", "/v2/app/web/blobs/sha256:..%2f..%2fsecret", 404},
		{"GET", "/v2/_catalog", 404},
		{"POST", "/v2/app/web/blobs/uploads/", 405},
		{"PUT", "/v2/app/web/manifests/x", 405},
		{"DELETE", "/v2/app/web/manifests/" + digest.String(), 405},
	} {
		req, err := http.NewRequest(c.method, fmt.Sprintf("http://127.0.0.1:%d%s", s.Port(), c.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.want || bytes.Contains(body, []byte("secret")) {
			t.Errorf("%s %s: status %d, want %d (%v)", c.method, c.path, res.StatusCode, c.want, err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	_, _, dir := serve(t)
	for _, c := range []struct{ dir, address, wantErr string }{
		{dir, "0.0.0.0:0", "is not an address of the loopback interface"},
		{dir, "5000", "is not an address of the loopback interface"},
		{t.TempDir(), "127.0.0.1:0", "serve image layout"},
	} {
		if s, err := registry.Start(c.dir, c.address); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: error is %v, want %q", c.address, err, c.wantErr)
			if err == nil {
				s.Close()
			}
		}
	}
}
