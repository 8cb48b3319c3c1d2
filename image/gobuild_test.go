package image

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sourceTree is a module with one command.
func sourceTree(t *testing.T, dir string) string {
	t.Helper()
	writeFiles(t, dir, map[string]string{
		"go.mod":          "module example.test/tree\n\ngo " + strings.TrimPrefix(goVersion(t), "go") + "\n",
		"cmd/one/main.go": "package main\n\nfunc main() { panic(\"where am I\") }\n",
		"cmd/bad/main.go": "package main\n\nfunc main() { undefined() }\n",
	})
	return dir
}

func goVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Skipf("no go command: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func TestBuildGuestDoesNotDependOnThePlace(t *testing.T) {
	first, err := buildGuest(t.Context(), sourceTree(t, t.TempDir()), "./cmd/one")
	if err != nil {
		t.Fatal(err)
	}
	// What a user may have set must not matter either.
	for name, value := range map[string]string{"GOFLAGS": "-tags=evil", "GOAMD64": "v3", "CGO_ENABLED": "1", "GODEBUG": "x=1"} {
		t.Setenv(name, value)
	}
	second, err := buildGuest(t.Context(), sourceTree(t, filepath.Join(t.TempDir(), "a", "longer", "folder")), "./cmd/one")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same sources in two folders give two programs")
	}
	if dir := t.TempDir(); bytes.Contains(first, []byte(filepath.Dir(dir))) {
		t.Errorf("the program names %s", filepath.Dir(dir))
	}
}

func TestBuildGuestNamesWhatIsWrong(t *testing.T) {
	tree := sourceTree(t, t.TempDir())
	if _, err := buildGuest(t.Context(), tree, "./cmd/bad"); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("error is %v, want the compiler's", err)
	}
	if _, err := buildGuest(t.Context(), t.TempDir(), "./cmd/one"); err == nil || !strings.Contains(err.Error(), "--source") {
		t.Errorf("error is %v, want one that names --source", err)
	}
	script := filepath.Join(tree, toolchainScript)
	if err := os.MkdirAll(filepath.Dir(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho 'setup: run apt-get' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := buildGuest(t.Context(), tree, "./cmd/one"); err == nil || !strings.Contains(err.Error(), "run apt-get") {
		t.Errorf("error is %v, want the script's", err)
	}
}
