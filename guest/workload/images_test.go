package workload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

const sum = "@sha256:70a0be653039d66000f9fd681862b3eb801e02d044864f87ae6f8c7caa49eb82"

// TestW1_MovedTag: an image that could be another one tomorrow does not run
// unless the measured config accepts that.
func TestW1_MovedTag(t *testing.T) {
	for _, tt := range []struct{ name, file, wantErr string }{
		{"pinned", "services: {web: {image: nginx" + sum + "}, db: {image: 'localhost:5000/a/b:7" + sum + "'}}", ""},
		{"tag", "services: {web: {image: 'nginx:1.29'}}", `service web: the image "nginx:1.29" can change behind its name: write image: nginx:1.29@sha256:<digest>`},
		{"second service", "services: {a: {image: a" + sum + "}, b: {image: redis}}", "service b"},
		{"service that a profile starts", "services: {a: {image: a" + sum + "}, b: {image: redis, profiles: [debug]}}", "service b"},
		{"variable", "services: {web: {image: 'nginx${TAG}" + sum + "'}}", "can change"},
		{"build", "services: {web: {build: .}}", "it has no image"},
		{"short digest", "services: {web: {image: 'a@sha256:70a0'}}", "can change"},
		{"upper case", "services: {web: {image: a" + strings.ToUpper(sum) + "}}", "can change"},
		{"digest and more", "services: {web: {image: a" + sum + "0}}", "can change"},
		{"two documents", "services: {web: {image: a" + sum + "}}\n---\nservices: {web: {image: redis}}\n", "second document"},
		{"key twice", "services: {web: {image: a" + sum + ", image: redis}}", "second time"},
		{"no services", "services: {}", "no services"},
		{"noise", "hello", "not a mapping"},
	} {
		err := CheckPinned([]byte(tt.file), nil)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.wantErr)
		}
	}
}

// W1: a public file as it is, with digests beside it, and the host's registry.
func TestW1_PinsAreLaidOverTheFile(t *testing.T) {
	file := []byte("services: {web: {image: 'nginx:1'}, db: {image: 'ghcr.io/x/db:${V:-2}'}, cache: {image: redis" + sum + "}, more: {extends: {service: web}}}")
	digest := vm.HashOf([]byte("image"))
	pins := vm.Pins{"nginx:1": digest, "ghcr.io/x/db:${V:-2}": digest}
	if err := CheckPinned(file, pins); err != nil {
		t.Fatal(err)
	}
	if err := CheckPinned(file, vm.Pins{"nginx:1": digest}); err == nil {
		t.Error("one image is not pinned: no error")
	}
	at := "@sha256:" + digest.String()
	for _, tt := range []struct {
		pins   vm.Pins
		mirror func(string) bool
		want   string
	}{
		{nil, nil, ""},
		{pins, nil, `{"services":{"db":{"image":"ghcr.io/x/db` + at + `"},"web":{"image":"nginx` + at + `"}}}`},
		{pins, func(r string) bool { return !strings.Contains(r, "ghcr.io") }, `{"services":{"cache":{"image":"localhost:5000/docker.io/library/redis` + sum + `"},"db":{"image":"ghcr.io/x/db` + at + `"},"web":{"image":"localhost:5000/docker.io/library/nginx` + at + `"}}}`},
	} {
		e := NewEngine(Folders{Run: t.TempDir()}, nil, func(string) {})
		p, err := e.Project("p", filepath.Join(t.TempDir(), "w"), file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Pin(file, tt.pins, tt.mirror); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(e.folders.Run, "workload-images.yaml"))
		if string(b) != tt.want || tt.want != "" && (err != nil || len(p.overlays) != 1) {
			t.Errorf("laid over the file: %s, %v, want %s", b, err, tt.want)
		}
	}
}
