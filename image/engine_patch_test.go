package image

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/secretvm/secretvm/vm"
)

// patchedModule is one of this tree, which needs no other.
const patchedModule = "golang.org/x/mod"

// TestPatchesAreOfTheModules compares the files that are patched with those of the
// modules that the engine requires now: a patch of a file that is gone, or that has
// become another, would be silently without effect.
func TestPatchesAreOfTheModules(t *testing.T) {
	pins, err := readEnginePins("..")
	if err != nil {
		t.Fatal(err)
	}
	if len(pins.patches) == 0 {
		t.Fatal("nothing is patched: the test has lost its object")
	}
	for path, files := range pins.patches {
		folder, err := moduleFolder(t.Context(), "..", EngineModule, path)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range files {
			original, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
			if err != nil {
				t.Errorf("%s of %s: %v", name, path, err)
			}
			if bytes.Equal(original, content) {
				t.Errorf("%s of %s is as it was", name, path)
			}
		}
	}
}

// TestPatchedModule builds a program of a module of which one file is another.
func TestPatchedModule(t *testing.T) {
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", root, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(mod.Require, func(r *modfile.Require) bool { return r.Mod.Path == patchedModule })
	engine := "module example.test/engine\n\ngo " + mod.Go.Version + "\n\nrequire (\n\t" + moby + " v2.0.0-beta.24\n\t" + patchedModule + " " + mod.Require[at].Mod.Version + "\n)\n"
	tree := writeTree(t, map[string]string{
		"go.mod": string(root), EngineModule + "/go.mod": engine, EngineModule + "/go.sum": string(sums),
		EngineModule + "/" + patchedFolder + "/" + patchedModule + "/gosumcheck/main.go": "package main\n\nfunc main() { println(\"patched\") }\n",
	})
	pins, err := readEnginePins(tree)
	if err != nil {
		t.Fatal(err)
	}
	var programs [2][]byte
	for i := range programs {
		folder := t.TempDir()
		if err := pins.apply(t.Context(), tree, folder); err != nil {
			t.Fatal(err)
		}
		if programs[i], err = goBuild(t.Context(), "..", folder, patchedModule+"/gosumcheck", linkerFlags); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("two builds in two folders differ")
	}
	said := filepath.Join(t.TempDir(), "said")
	if err := os.WriteFile(said, programs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(said).CombinedOutput(); err != nil || string(out) != "patched\n" {
		t.Errorf("the program says %q: %v", out, err)
	}
	modules := map[string]vm.PackageFile{}
	if err := pins.addModules(modules, programs[0]); err != nil {
		t.Fatal(err)
	}
	if m := modules[patchedModule]; m.Version != mod.Require[at].Mod.Version+"+patched" || m.SHA256.IsZero() {
		t.Errorf("%s is %+v", patchedModule, m)
	}
	patched := modules[patchedModule]

	// Nothing but patched modules may be replaced.
	pins.patches = nil
	if err := pins.addModules(modules, programs[0]); err == nil || !strings.Contains(err.Error(), "is replaced by") {
		t.Errorf("a module that somebody replaced: %v", err)
	}
	if err := pins.addModules(modules, []byte("no program")); err == nil || !strings.Contains(err.Error(), "read what it was made from") {
		t.Errorf("what is no program: %v", err)
	}
	// As it is, the module has the same hash.
	folder := t.TempDir()
	if err := pins.apply(t.Context(), tree, folder); err != nil {
		t.Fatal(err)
	}
	program, err := goBuild(t.Context(), "..", folder, patchedModule+"/gosumcheck", linkerFlags)
	if err != nil {
		t.Fatal(err)
	}
	if err := pins.addModules(modules, program); err != nil {
		t.Fatal(err)
	}
	if m := modules[patchedModule]; m.Version+"+patched" != patched.Version || m.SHA256 != patched.SHA256 {
		t.Errorf("as it is, %s is %+v, patched %+v", patchedModule, m, patched)
	}
}

// TestPatchOfAFileThatIsGone is what happens when a module has another version.
func TestPatchOfAFileThatIsGone(t *testing.T) {
	err := replaceFile(filepath.Join(t.TempDir(), "gone.go"), nil)
	if err == nil || !strings.Contains(err.Error(), "its version has changed") {
		t.Error(err)
	}
}

func TestReadPatches(t *testing.T) {
	required := []*modfile.Require{{Mod: module.Version{Path: "example.test/m", Version: "v1.0.0"}}}
	for name, c := range map[string]struct {
		files   map[string]string
		want    string // module/file of the one that is patched
		wantErr string
	}{
		"none":                   {},
		"of a module":            {map[string]string{"example.test/m/a/b.go": "x"}, "a/b.go", ""},
		"of a module not needed": {map[string]string{"example.test/n/b.go": "x"}, "", "is of no module that image/engine/go.mod requires"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for file, text := range c.files {
				files[EngineModule+"/"+patchedFolder+"/"+file] = text
			}
			p, err := readPatches(writeTree(t, files), required)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("%v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := p["example.test/m"][c.want]; ok != (c.want != "") {
				t.Errorf("patches %v", p)
			}
		})
	}
}
