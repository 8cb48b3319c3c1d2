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
// link, at its version, and apart from them what its other processes do. It is
// committed, so that a new dependency of the guest shows in the diff and is argued
// for there.
func TestTrustedBaseIsCommitted(t *testing.T) {
	trusted := modules(t, "./cmd/guest-init", "./cmd/guestd")
	others := slices.DeleteFunc(modules(t, "./cmd/guest-service"), func(m string) bool { return slices.Contains(trusted, m) })
	got := "# Modules that the guest links besides Go's standard library. Checked by test/structure;\n" +
		"# rewrite with: go test ./test/structure -run TrustedBase -update\n" + strings.Join(trusted, "\n") + "\n" +
		"# beside them, in processes of their own (guest-service)\n" + strings.Join(append(others, ""), "\n")
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

// modules lists the modules that programs link.
func modules(t *testing.T, programs ...string) (out []string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}"}, programs...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
