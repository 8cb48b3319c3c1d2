package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/image/tree"
	"github.com/secretvm/secretvm/vm"
)

// folder is a module with a program and a description of one image.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module example.test/hello\n\ngo " + goVersion(t) + "\n",
		"hello/main.go":   "package main\n\nfunc main() { println(\"hello\") }\n",
		"app/" + SpecName: "images:\n  - repository: app/hello\n    go: ./hello\n    user: 1000\n    entrypoint: [/hello]\n    folders: [data]\n    volumes: [/data]\n    text: { etc/motd: hello }\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "hello"), filepath.Join(dir, "app/hello")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "app")
}

// goVersion is the one that this module pins: no other may be there.
func goVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\ngo ")
	version, _, _ := strings.Cut(rest, "\n")
	return version
}

func TestBuildIsReproducible(t *testing.T) {
	cache := t.TempDir()
	store, err := Build(context.Background(), Options{Folder: folder(t), CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	if len(store.Images) != 1 || store.Cached {
		t.Fatalf("store is %+v", store)
	}
	again, err := Build(context.Background(), Options{Folder: folder(t), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if store.Images[0] != again.Images[0] {
		t.Errorf("two builds in two folders differ: %+v, %+v", store.Images[0], again.Images[0])
	}
	cached, err := Build(context.Background(), Options{Folder: folder(t), CacheDir: cache})
	if err != nil || !cached.Cached || cached.Dir != store.Dir {
		t.Errorf("third build is %+v, %v; want the cached one", cached, err)
	}
	checkImage(t, store)
}

// One program may stand in for images of other registries, each of which is
// found where a mirror has it.
func TestStandIns(t *testing.T) {
	dir := folder(t)
	spec := "images:\n  - {names: ['redis:7', 'ghcr.io/a/b:${T:-1}'], go: ./hello, user: 1, entrypoint: [/hello]}\n"
	if err := os.WriteFile(filepath.Join(dir, SpecName), []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := Build(t.Context(), Options{Folder: dir, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if len(store.Images) != 2 || store.Images[0].Repository != "docker.io/library/redis" || store.Images[1].Repository != "ghcr.io/a/b" ||
		store.Images[1].Name != "ghcr.io/a/b:${T:-1}" || store.Images[0].Digest != store.Images[1].Digest {
		t.Errorf("built are %+v", store.Images)
	}
}

// A description may name any package of its own module, and none beyond it.
func TestPackagesOfTheModule(t *testing.T) {
	dir := folder(t)
	for name, c := range map[string]struct{ spec, wantErr string }{
		"beside":  {"../app/hello", ""},
		"outside": {"../../elsewhere", "outside the module"},
	} {
		spec := "images:\n  - {repository: app/hello, go: " + c.spec + ", user: 1, entrypoint: [/hello]}\n"
		if err := os.WriteFile(filepath.Join(dir, SpecName), []byte(spec), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Build(t.Context(), Options{Folder: dir, CacheDir: t.TempDir()})
		if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", name, err, c.wantErr)
		}
	}
}

// checkImage looks at configuration and files as an engine does.
func checkImage(t *testing.T, store *Store) {
	t.Helper()
	index, err := layout.ImageIndexFromPath(store.Dir)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(store.Images[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var cfg v1.ConfigFile
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Config.User != "1000:1000" || !slices.Equal(cfg.Config.Entrypoint, []string{"/hello"}) || cfg.Created.Unix() != 0 {
		t.Errorf("configuration is %s", raw)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var names []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		owner := 0
		if h.Name == "data/" {
			owner = 1000
		}
		if h.ModTime.Unix() != 0 || h.Uid != owner || h.Gid != owner || h.Uname != "" {
			t.Errorf("%s: header is %+v", h.Name, h)
		}
	}
	if got := strings.Join(names, " "); got != "data/ etc/ etc/motd hello" {
		t.Errorf("files are %s", got)
	}
}

func TestNoDescriptionNoStore(t *testing.T) {
	store, err := Build(context.Background(), Options{Folder: t.TempDir(), CacheDir: t.TempDir()})
	if store != nil || err != nil {
		t.Errorf("store is %+v, error %v", store, err)
	}
}

func TestParseSpecRefuses(t *testing.T) {
	const whole = "images:\n  - {repository: a/b, go: ./x, user: 1, entrypoint: [/x]}\n"
	if _, err := ParseSpec([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, spec, wantErr string }{
		{"empty", "", "parse image description"},
		{"nothing", "images: []", "has no images"},
		{"unknown field", strings.Replace(whole, "user", "uesr", 1), "uesr"},
		{"two documents", whole + "---\n" + whole, "more than one document"},
		{"twice", whole + whole[len("images:\n"):], "described twice"},
		{"repository", strings.Replace(whole, "a/b", "A", 1), "not a lower-case path"},
		{"neither name", strings.Replace(whole, "repository: a/b, ", "", 1), "want either repository or names"},
		{"both names", strings.Replace(whole, "user", "names: [redis], user", 1), "want either repository or names"},
		{"no name", strings.Replace(whole, "repository: a/b", "names: ['redis:7', 'A B']", 1), "not the name of an image"},
		{"name twice", strings.Replace(whole, "repository: a/b", "names: ['redis:7', 'redis:7']", 1), "described twice"},
		{"name without a value", strings.Replace(whole, "repository: a/b", "names: ['redis:${X}']", 1), "has no value"},
		{"root", strings.Replace(whole, "user: 1", "user: 0", 1), "do not run as root"},
		{"no entrypoint", strings.Replace(whole, "[/x]", "[]", 1), "entrypoint is missing"},
		{"absolute folder", strings.Replace(whole, "./x", "/x", 1), "relative to the description"},
		{"both", strings.Replace(whole, "user", "files: [a], user", 1), "want either go or files"},
		{"no group", strings.Replace(whole, "go: ./x", "files: [a]", 1), "need the group"},
		{"absolute path", strings.Replace(whole, "user", "folders: [/data], user", 1), "not clean and relative"},
		{"link up", strings.Replace(whole, "user", "links: {../x: y}, user", 1), "clean path"},
		{"link to nothing", strings.Replace(whole, "user", "links: {x: ''}, user", 1), "and a target"},
		{"path up", strings.Replace(whole, "user", "text: {../x: y}, user", 1), "not clean and relative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseSpec([]byte(c.spec))
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestClosure(t *testing.T) {
	// The header of a static program: ELF64, little-endian, x86-64, no sections.
	program := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	program[16], program[18], program[20], program[52], program[58] = 2, 62, 1, 64, 64
	all := tree.Tree{}
	all.File("usr/bin/real", 0o755, program)
	all.Link("usr/bin/program", "/usr/bin/real")
	all.Link("usr/bin/loose", "nowhere")
	all.File("usr/share/doc", 0o644, []byte("text"))
	out, err := closure(all, []string{"usr/bin/program"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := out["usr/bin/real"]; !ok || len(out) != 5 {
		t.Errorf("closure has %d entries", len(out))
	}
	for _, name := range []string{"usr/bin/loose", "usr/bin/absent"} {
		if _, err := closure(all, []string{name}); err == nil || !strings.Contains(err.Error(), "no package of the group has") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestStoreChecksAndPins(t *testing.T) {
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	s := &Store{Images: []Built{{Repository: "app/web", Digest: digest("a")}}}
	service := func(image string) []compose.Service { return []compose.Service{{Name: "web", Image: image}} }
	for _, c := range []struct{ name, image, wantErr string }{
		{"as built", Host + "/app/web@" + digest("a"), ""},
		{"from elsewhere", "docker.io/app/web:1", ""},
		{"other digest", Host + "/app/web@" + digest("b"), "secretvm oci build --update"},
		{"not described", Host + "/app/db@" + digest("a"), "does not describe it"},
	} {
		err := s.Check(service(c.image), nil)
		if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: error is %v, want %q", c.name, err, c.wantErr)
		}
	}
	s.Images = append(s.Images, Built{Repository: "docker.io/library/redis", Name: "redis:7", Digest: digest("e")})
	pins, err := s.Pins()
	if err != nil || len(pins) != 1 {
		t.Fatalf("pins are %v, %v", pins, err)
	}
	if err := s.Check(service("redis:7"), pins); err != nil {
		t.Error(err)
	}
	for _, wrong := range []vm.Pins{nil, {"redis:7": vm.HashOf(nil)}} {
		if err := s.Check(service("redis:7"), wrong); err == nil || !strings.Contains(err.Error(), "secretvm oci build --update") {
			t.Errorf("pinned by %v: %v", wrong, err)
		}
	}
	before := "a: " + Host + "/app/web@" + digest("b") + " # kept\r\nb: " + Host + "/app/web@" + digest("c") + "\nc: " + Host + "/app/db@" + digest("d")
	after := strings.NewReplacer(digest("b"), digest("a"), digest("c"), digest("a")).Replace(before)
	if got := s.Pin([]byte(before)); !bytes.Equal(got, []byte(after)) {
		t.Errorf("pinned file is\n%s", got)
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add([]byte("images:\n  - {repository: a/b, go: ./x, user: 1, entrypoint: [/x]}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseSpec(raw)
		if err != nil {
			return
		}
		for _, i := range s.Images {
			if i.User == 0 || filepath.IsAbs(i.Go) {
				t.Fatalf("accepted %+v", i)
			}
		}
	})
}
