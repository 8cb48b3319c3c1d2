package compose

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func TestPinnedImage(t *testing.T) {
	digest := vm.HashOf([]byte("image"))
	at := "@sha256:" + digest.String()
	pins := vm.Pins{"redis": digest, "redis:7": digest, "ghcr.io/a/b:${TAG:-1}": digest, "r.example:5000/x": digest, "r.example:5000/x:2": digest, "a/${B}": digest}
	for _, tt := range []struct{ image, want, mirror, wantErr string }{
		{"redis", "redis" + at, "localhost:5000/docker.io/library/redis" + at, ""},
		{"redis:7", "redis" + at, "localhost:5000/docker.io/library/redis" + at, ""},
		{"docker.io/valkey/valkey:8" + pin, "docker.io/valkey/valkey" + pin, "localhost:5000/docker.io/valkey/valkey" + pin, ""},
		{"docker.io/redis" + pin, "docker.io/redis" + pin, "localhost:5000/docker.io/library/redis" + pin, ""},
		{"ghcr.io/a/b:${TAG:-1}", "ghcr.io/a/b" + at, "localhost:5000/ghcr.io/a/b" + at, ""},
		{"r.example:5000/x", "r.example:5000/x" + at, "localhost:5000/r.example:5000/x" + at, ""},
		{"r.example:5000/x:2", "r.example:5000/x" + at, "localhost:5000/r.example:5000/x" + at, ""},
		{"localhost:5000/a/b" + pin, "localhost:5000/a/b" + pin, "localhost:5000/a/b" + pin, ""},
		{"redis:8", "", "", "is not pinned"},
		{"a/${B}", "", "", "has no value"},
	} {
		got, err := PinnedImage(tt.image, pins)
		switch {
		case tt.wantErr != "":
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %s, %v, want an error with %q", tt.image, got, err, tt.wantErr)
			}
		case err != nil || got != tt.want:
			t.Errorf("%s: %s, %v, want %s", tt.image, got, err, tt.want)
		case MirrorOf("localhost:5000", got) != tt.mirror:
			t.Errorf("%s: mirrored as %s, want %s", tt.image, MirrorOf("localhost:5000", got), tt.mirror)
		}
	}
}

// W1: a file beside an unchanged public compose file pins its images.
func TestW1_PinsBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digest := "sha256:" + strings.Repeat("cd", 32)
	write("compose.yaml", "services:\n  web: { image: 'nginx:1' }\n  db: { image: 'redis"+pin+"' }\n")
	for _, tt := range []struct{ pins, images, wantErr string }{
		{"", "tag", ""},
		{`{"nginx:1": "` + digest + `", "other:2": "` + digest + `"}`, "digest", ""},
		{`{"nginx:2": "` + digest + `"}`, "tag", ""},
		{`{"nginx:1": "sha256:ab"}`, "", "want sha256:"},
		{`{"nginx:1": "` + strings.Repeat("cd", 32) + `"}`, "", "want sha256:"},
		{`{"nginx:1": "` + digest + `"}{}`, "", "trailing"},
		{`[]`, "", "parse pinned images"},
	} {
		if tt.pins != "" {
			write(PinsName, tt.pins)
		}
		w, err := Read(dir)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: %v, want an error with %q", tt.pins, err, tt.wantErr)
			}
			continue
		}
		if err != nil || w.Settings.Images != tt.images {
			t.Fatalf("%s: %+v, %v", tt.pins, w, err)
		}
		cfg, err := w.Config("svm1abc/x", testKMS, testInstance)
		if err != nil || len(cfg.Pins) != map[string]int{"digest": 1, "tag": 0}[tt.images] {
			t.Errorf("%s: config pins %v, %v", tt.pins, cfg.Pins, err)
		}
		for name := range cfg.Pins {
			if name != "nginx:1" {
				t.Errorf("the config pins %s, which the file does not name", name)
			}
		}
	}
}

func FuzzParsePins(f *testing.F) {
	f.Add([]byte(`{"nginx:1": "sha256:` + strings.Repeat("cd", 32) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		pins, err := ParsePins(b)
		if err != nil {
			return
		}
		out, err := EncodePins(pins)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePins(out)
		if err != nil || len(again) != len(pins) {
			t.Fatalf("%s is read back with %v", out, err)
		}
		if second, _ := EncodePins(again); !bytes.Equal(out, second) {
			t.Errorf("%s has another form, %s", out, second)
		}
	})
}
