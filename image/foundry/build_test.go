package foundry

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// testRecipe makes a file with these bytes of one package with one tool.
func testRecipe(content string) Recipe {
	locked := func(name string) []lock.Package { return []lock.Package{{Name: name, SHA256: vm.HashOf([]byte(name))}} }
	return Recipe{
		Product: Product{Kind: "kernel", File: "vmlinuz", SHA256: vm.HashOf([]byte(content)), Home: "image/k", Command: "make k"},
		Variant: "small", Toolchain: "tools",
		Lock:   lock.Lock{Groups: map[string][]lock.Package{lock.Source: locked("source"), "tools": locked("gcc")}},
		Inputs: fstest.MapFS{"build.sh": {Data: []byte("make")}},
	}
}

// Whatever the product depends on is in its key.
func TestKeyCoversInputs(t *testing.T) {
	keys := map[vm.Hash]string{}
	for what, change := range map[string]func(*Recipe){
		"nothing":   func(*Recipe) {},
		"variant":   func(r *Recipe) { r.Variant = "large" },
		"source":    func(r *Recipe) { r.Lock.Groups[lock.Source][0].SHA256[0] ^= 1 },
		"toolchain": func(r *Recipe) { r.Lock.Groups["tools"][0].SHA256[0] ^= 1 },
		"script":    func(r *Recipe) { r.Inputs = fstest.MapFS{"build.sh": {Data: []byte("make all")}} },
		"its name":  func(r *Recipe) { r.Inputs = fstest.MapFS{"other.sh": {Data: []byte("make")}} },
		"one more":  func(r *Recipe) { r.Inputs.(fstest.MapFS)["more"] = &fstest.MapFile{} },
	} {
		r := testRecipe("k")
		change(&r)
		k, err := r.Key()
		if err != nil {
			t.Fatal(err)
		}
		if same, ok := keys[k]; ok {
			t.Errorf("changing %s gives the key of changing %s", what, same)
		}
		keys[k] = what
	}
	r := testRecipe("k")
	r.Lock = lock.Lock{}
	if _, err := r.Key(); err == nil || !strings.Contains(err.Error(), "source") {
		t.Errorf("without the groups the error is %v", err)
	}
}

// silent is a step.Reporter that nobody watches.
type silent struct{}

func (silent) Started(string)       {}
func (silent) Finished(step.Result) {}

// What the cache holds counts only if it has the committed SHA-256.
func TestCachedFileIsChecked(t *testing.T) {
	r, dir := testRecipe("k"), t.TempDir()
	key, err := r.Key()
	if err != nil {
		t.Fatal(err)
	}
	file := r.CacheFile(dir, key)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("k"), 0o644); err != nil {
		t.Fatal(err)
	}
	result, err := Build(t.Context(), r, Options{CacheDir: dir, Report: silent{}})
	if err != nil || !result.Cached || string(result.Content) != "k" {
		t.Errorf("%+v, %v; want the cached file", result, err)
	}
	if err := os.WriteFile(file, []byte("K"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Cached(dir); ok {
		t.Error("an altered file is taken from the cache")
	}
}

// What was built counts only with the committed SHA-256; other is kept aside.
func TestCheckRefusesOtherFiles(t *testing.T) {
	b := &build{Options: Options{CacheDir: t.TempDir()}, recipe: testRecipe("k"), content: []byte("K")}
	if err := os.MkdirAll(filepath.Dir(b.cacheFile()), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := b.check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "image/k/SHA256SUMS") {
		t.Errorf("error is %v, want one that names SHA256SUMS", err)
	}
	if kept, e := os.ReadFile(b.cacheFile() + ".different"); e != nil || !bytes.Equal(kept, b.content) {
		t.Errorf("the other file is not kept: %v", e)
	}
	if _, e := os.Stat(b.cacheFile()); e == nil {
		t.Error("the other file is in the cache")
	}
	b.content = []byte("k")
	if _, err := b.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, e := os.ReadFile(b.cacheFile()); e != nil || !bytes.Equal(kept, b.content) {
		t.Errorf("the right file is not in the cache: %v", e)
	}
}

func TestPrebuiltTakesOnlyTheSameBytes(t *testing.T) {
	p, dir := testRecipe("k").Product, t.TempDir()
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if got, err := p.Prebuilt(write("right", []byte("k"))); err != nil || string(got) != "k" {
		t.Errorf("%q, %v; want the file", got, err)
	}
	huge := write("huge", nil)
	if err := os.Truncate(huge, maxProduct+1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, wantErr string }{
		{"altered", write("altered", []byte("K")), "this release's is " + p.SHA256.String()},
		{"says how to build it", write("altered", []byte("K")), "`make k`"},
		{"absent", filepath.Join(dir, "absent"), "no such file"},
		{"folder", dir, "is no file"},
		{"huge", huge, "of at most 16 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := p.Prebuilt(c.file); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

func TestSum(t *testing.T) {
	want := vm.HashOf([]byte("k"))
	sums := vm.HashOf(nil).String() + "  other\n" + want.String() + "  vmlinuz\n"
	if got, err := Sum(sums, "vmlinuz"); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	for _, c := range []struct{ name, sums, wantErr string }{
		{"no line", sums, "no line for more"},
		{"no digest", "abc  more\n", "want 64 hex digits"},
	} {
		if _, err := Sum(c.sums, "more"); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: error is %v, want one about %q", c.name, err, c.wantErr)
		}
	}
}

func TestSources(t *testing.T) {
	s := Sources{packages: []lock.Package{{Name: "edk2.orig"}, {Name: "edk2.debian"}}}
	if p, err := s.Find("edk2.debian"); err != nil || p.Name != "edk2.debian" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := s.Find("edk2.more"); err == nil {
		t.Error("a tarball that is not there is found")
	}
	if _, err := s.Only(); err == nil || !strings.Contains(err.Error(), "want one") {
		t.Errorf("two are one: %v", err)
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"unknown field", "suite: []", "parse kernel specification"},
		{"nothing to build", "groups: {source: {sources: []}}", "group source is empty"},
		{"two documents", "groups: {source: {sources: [a]}}\n---\na: b", "more than one document"},
	} {
		if _, err := ParseSpec([]byte(c.text), "kernel", "source"); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: error is %v, want one about %q", c.name, err, c.wantErr)
		}
	}
}

func TestNamespaceErrorSaysWhatToDo(t *testing.T) {
	err := Product{Flag: "--kernel", Variable: "KERNEL_FILE"}.namespaceError(os.ErrPermission)
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "KERNEL_FILE") || !strings.Contains(err.Error(), "--kernel FILE") {
		t.Errorf("error is %v, want the cause and the way out", err)
	}
}
