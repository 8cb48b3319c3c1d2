package structure

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/trusted-base.txt")

// The guest's trusted base is every module that cmd/guest-init and cmd/guestd
// link, at its version. It is committed, so that a new dependency of the guest
// shows in the diff and is argued for there.
func TestTrustedBaseIsCommitted(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}",
		"./cmd/guest-init", "./cmd/guestd")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var modules []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			modules = append(modules, line)
		}
	}
	slices.Sort(modules)
	modules = slices.Compact(modules)
	got := "# Modules that the guest links besides Go's standard library. Checked by test/structure;\n" +
		"# rewrite with: go test ./test/structure -run TrustedBase -update\n" + strings.Join(modules, "\n") + "\n"
	file := filepath.Join(root(t), "docs", "trusted-base.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, file); got != want {
		t.Errorf("the guest's trusted base changed; now\n%s\ncommitted\n%s\nIf that is meant: go test ./test/structure -run TrustedBase -update", got, want)
	}
}
