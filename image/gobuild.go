package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// goSettings are passed on from the user's own Go settings: where modules come
// from and where Go keeps its caches. None of them changes what is built.
var goSettings = []string{
	"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOPATH", "GOMODCACHE", "GOCACHE",
}

// buildGuest compiles one command of the source tree for the guest. The result
// depends on the sources and go.mod only: the toolchain is the one that go.mod
// names, and no setting of the user or the machine goes into it.
func buildGuest(ctx context.Context, source, command string) ([]byte, error) {
	env, err := guestEnvironment(ctx, source)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "secretvm-build-*")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	output := filepath.Join(dir, filepath.Base(command))
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", output, command)
	c.Dir, c.Env = source, env
	var messages bytes.Buffer
	c.Stdout, c.Stderr = &messages, &messages
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("build %s in %s: %w\n%s", command, source, err, strings.TrimSpace(messages.String()))
	}
	return os.ReadFile(output)
}

func guestEnvironment(ctx context.Context, source string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("find the source tree: %w (run in it, or name it with --source)", err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return nil, fmt.Errorf("read go.mod: %w", err)
	}
	c := exec.CommandContext(ctx, "go", append([]string{"env", "-json"}, goSettings...)...)
	c.Dir = source
	b, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("ask go for its settings: %w (is Go installed?)", err)
	}
	settings := map[string]string{}
	if err := json.Unmarshal(b, &settings); err != nil {
		return nil, fmt.Errorf("ask go for its settings: %w", err)
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GO") && !strings.HasPrefix(e, "CGO_") {
			env = append(env, e)
		}
	}
	for _, name := range goSettings {
		env = append(env, name+"="+settings[name])
	}
	return append(env,
		"GOENV=off", "GOWORK=off", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=go"+mod.Go.Version,
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1"), nil
}
