package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/secretvm/secretvm/compose"
)

// W1: what tags mean now is written down beside a file that stays as it is, and
// is what machines run from then on.
func TestW1_PinAsksRegistries(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(reference string) string {
		t.Helper()
		r, err := name.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		image, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(r, image); err != nil {
			t.Fatal(err)
		}
		d, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	web, db := push(host+"/web:1"), push(host+"/db:2")
	pinned := "redis@sha256:" + strings.Repeat("ab", 32)
	dir := t.TempDir()
	file := filepath.Join(dir, "compose.yaml")
	text := "services:\n  web: { image: '" + host + "/web:1' }\n  db: { image: '" + host + "/db:${TAG:-2}' }\n  cache: { image: '" + pinned + "' }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pin := func() (int, string) {
		var out, errs bytes.Buffer
		code := run(context.Background(), []string{"oci", "pin", dir}, nil, &out, &errs)
		return code, out.String() + errs.String()
	}
	if code, out := pin(); code != 0 || !strings.Contains(out, web) || !strings.Contains(out, "updated") {
		t.Fatalf("pin ends with %d: %s", code, out)
	}
	w, err := compose.Read(dir)
	if err != nil || w.Settings.Images != "digest" || len(w.Pins) != 2 || "sha256:"+w.Pins[host+"/db:${TAG:-2}"].String() != db || string(w.Compose) != text {
		t.Fatalf("read back: %+v, %v", w, err)
	}
	moved := push(host + "/web:1")
	if w, err := compose.Read(dir); err != nil || "sha256:"+w.Pins[host+"/web:1"].String() != web {
		t.Errorf("a moved tag moves the pin: %+v, %v", w, err)
	}
	if code, out := pin(); code != 0 || !strings.Contains(out, moved) {
		t.Errorf("pin again ends with %d: %s", code, out)
	}
	if err := os.WriteFile(file, []byte("services:\n  web: { image: '"+host+"/none:1' }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := pin(); code != exitRefused || !strings.Contains(out, "service web: ask for image") {
		t.Errorf("an image that is not there: %d: %s", code, out)
	}
}
