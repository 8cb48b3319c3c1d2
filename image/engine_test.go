package image

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// TestEngineIsPinned compares what the base image takes from the engine's module
// with the tools that the module names: a program that is no tool of it would lose
// its modules at the next `go mod tidy`.
func TestEngineIsPinned(t *testing.T) {
	spec, err := BaseSpec()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("engine", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tools []string
	for _, tool := range mod.Tool {
		tools = append(tools, tool.Path)
	}
	slices.Sort(tools)
	if programs := slices.Sorted(maps.Values(spec.Rootfs.Engine)); !slices.Equal(programs, tools) {
		t.Errorf("the image has the programs %q, %s/go.mod the tools %q", programs, EngineModule, tools)
	}
	if len(mod.Replace) > 0 {
		t.Errorf("%s/go.mod replaces modules: the manifest would name what is not there", EngineModule)
	}
}

func TestReadEnginePins(t *testing.T) {
	whole := map[string]string{
		"go.mod":                 "module example.test/tree\n\ngo 1.26.8\n",
		EngineModule + "/go.mod": "module example.test/tree/engine\n\nrequire " + moby + " v2.0.0-beta.24\n",
		EngineModule + "/go.sum": "sums\n",
	}
	for name, c := range map[string]struct {
		file, text string // instead of what is whole; no text: no file
		wantErr    string
	}{
		"whole":                    {},
		"no tree":                  {"go.mod", "", "run in it, or name it with --source"},
		"tree that is none":        {"go.mod", "modul", "read go.mod"},
		"no engine":                {EngineModule + "/go.mod", "", "find the container engine"},
		"no sums":                  {EngineModule + "/go.sum", "", "find the container engine"},
		"engine that is none":      {EngineModule + "/go.mod", "requires all", "read image/engine/go.mod"},
		"engine without a dockerd": {EngineModule + "/go.mod", "module m\n", "does not require " + moby},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(whole)
			files[c.file] = c.text
			pins, err := readEnginePins(writeTree(t, files))
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("pins %+v, error %v, want %q", pins, err, c.wantErr)
				}
				return
			}
			if err != nil || pins.version != "2.0.0-beta.24" || pins.toolchain != "1.26.8" {
				t.Errorf("version %q, toolchain %q, error %v", pins.version, pins.toolchain, err)
			}
		})
	}
}

// TestEngineKeyCoversEveryPin changes one pin at a time: a program of other modules
// or of another toolchain must not come from the cache.
func TestEngineKeyCoversEveryPin(t *testing.T) {
	seen := map[string]string{}
	for name, p := range map[string]enginePins{
		"as it is":      {goMod: []byte("mod"), goSum: []byte("sum"), toolchain: "1.26.8"},
		"other modules": {goMod: []byte("mod2"), goSum: []byte("sum"), toolchain: "1.26.8"},
		"other content": {goMod: []byte("mod"), goSum: []byte("sum2"), toolchain: "1.26.8"},
		"other border":  {goMod: []byte("mods"), goSum: []byte("um"), toolchain: "1.26.8"},
		"other patch":   {goMod: []byte("mod"), goSum: []byte("sum"), toolchain: "1.26.8", patches: patches{"m": {"a.go": []byte("x")}}},
		"other Go":      {goMod: []byte("mod"), goSum: []byte("sum"), toolchain: "1.26.9"},
	} {
		for _, command := range []string{"one", "two"} {
			key := p.key(command, linkerFlags)
			if same, ok := seen[key]; ok {
				t.Errorf("%s, command %s: the key of %s", name, command, same)
			}
			seen[key] = name + ", command " + command
		}
	}
}

// writeTree makes a folder of files; those without text are left out.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	maps.DeleteFunc(files, func(_, text string) bool { return text == "" })
	writeFiles(t, dir, files)
	return dir
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
