package workload

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the owner sealed reaches docker compose by its environment and by a file
// on a tmpfs, never by its arguments or the project's folder.
func TestUnseal(t *testing.T) {
	run := t.TempDir()
	e := &Engine{folders: Folders{Data: t.TempDir(), Run: run}, note: func(string) {}}
	p, err := e.Project("web", filepath.Join(t.TempDir(), "project"), []byte("services: {}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Unseal([]string{"TOKEN=hunter2"}, []byte(`{"auths":{"registry.example":{"auth":"dTpw"}},"credHelpers":{"x":"evil"}}`)); err != nil {
		t.Fatal(err)
	}
	cmd := p.command(t.Context(), "up")
	if !slices.Contains(cmd.Env, "TOKEN=hunter2") || strings.Contains(strings.Join(cmd.Args, " "), "hunter2") {
		t.Errorf("environment %q, arguments %q", cmd.Env, cmd.Args)
	}
	path := filepath.Join(run, "docker-config", "config.json")
	b, err := os.ReadFile(path)
	if err != nil || string(b) != `{"auths":{"registry.example":{"auth":"dTpw"}}}` {
		t.Errorf("Docker's config is %s, %v", b, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", info.Mode(), err)
	}
	for _, wrong := range []string{`[]`, `{"credHelpers":"x"}`, `{}`, `secret`} {
		if err := p.Unseal(nil, []byte(wrong)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v", wrong, err)
		}
	}
	if err := p.Unseal(nil, nil); err != nil {
		t.Errorf("nothing sealed: %v", err)
	}
}
