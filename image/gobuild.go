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
	return goBuild(ctx, source, source, command, linkerFlags)
}

// linkerFlags leave out symbols for debuggers and what differs from build to build.
const linkerFlags = "-s -w -buildid="

// goBuild compiles a command of the module in folder, by the Go release of the
// source tree.
func goBuild(ctx context.Context, source, folder, command, linker string, flags ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "secretvm-build-*")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	output := filepath.Join(dir, filepath.Base(command))
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=" + linker, "-o", output}, flags...)
	c, err := goTool(ctx, source, folder, append(args, command)...)
	if err != nil {
		return nil, err
	}
	var messages bytes.Buffer
	c.Stdout, c.Stderr = &messages, &messages
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("build %s in %s: %w\n%s", command, folder, err, strings.TrimSpace(messages.String()))
	}
	return os.ReadFile(output)
}

// goTool is a command of the Go release of the source tree, to be run in folder.
func goTool(ctx context.Context, source, folder string, args ...string) (*exec.Cmd, error) {
	compiler, err := goCommand(ctx, source)
	if err != nil {
		return nil, err
	}
	env, err := guestEnvironment(ctx, source, compiler)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, compiler, args...)
	c.Dir, c.Env = folder, env
	return c, nil
}

// toolchainScript prints the path of the Go command that go.mod names. It stands
// in the source tree, because make needs it before there is any program of ours.
const toolchainScript = "scripts/go-toolchain"

// goCommand returns the Go command to build with: that of the source tree's own
// script, else the one on PATH.
func goCommand(ctx context.Context, source string) (string, error) {
	script, err := filepath.Abs(filepath.Join(source, toolchainScript))
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	if _, err := os.Stat(script); err != nil {
		return "go", nil
	}
	c := exec.CommandContext(ctx, script)
	var messages bytes.Buffer
	c.Stderr = &messages
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("find the Go toolchain: %w: %s", err, strings.TrimSpace(messages.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// goRelease is the release that the source tree's go.mod names, such as 1.26.8.
func goRelease(source string) (string, error) {
	text, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w (run in it, or name it with --source)", err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return "", fmt.Errorf("read go.mod: %w", err)
	}
	return mod.Go.Version, nil
}

// guestEnvironment is what the compiler sees of this machine.
func guestEnvironment(ctx context.Context, source, compiler string) ([]string, error) {
	release, err := goRelease(source)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, compiler, append([]string{"env", "-json"}, goSettings...)...)
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
		"GOENV=off", "GOWORK=off", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=go"+release,
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1"), nil
}
