package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Project is the measured compose file, ready to be brought up.
type Project struct {
	Name   string
	Folder string // tmpfs: the files of the archive

	engine *Engine
	note   func(string)
	secret []string // NAME=value, from the owner
	// Profiles of the compose file that are started too.
	Profiles []string

	seen     func([]Container) // learns what becomes of the containers; may be nil
	overlays []string          // compose files of this machine's own, laid over the measured one
}

// The compose file and its variables lie beside the project's folder, not in it:
// containers may mount the folder, and what is in it is theirs.
func (p *Project) file() string      { return p.Folder + ".yaml" }
func (p *Project) variables() string { return p.Folder + ".env" }

// Project unpacks files (a tar, or nil) into folder, which must be on a tmpfs,
// and writes the compose file, byte for byte, beside it.
func (e *Engine) Project(name, folder string, composeFile, files []byte) (*Project, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("prepare the workload's folder: %w", err)
	}
	if files != nil {
		if err := unpack(folder, files); err != nil {
			return nil, err
		}
	}
	p := &Project{Name: name, Folder: folder, engine: e, note: e.note}
	if err := os.WriteFile(p.file(), composeFile, 0o444); err != nil {
		return nil, fmt.Errorf("write the compose file: %w", err)
	}
	variables, err := os.ReadFile(filepath.Join(folder, ".env"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = os.WriteFile(p.variables(), variables, 0o444)
	}
	if err != nil {
		return nil, fmt.Errorf("write the compose file's variables: %w", err)
	}
	return p, nil
}

// Unseal gives the project what its owner sealed: variables, as NAME=value, that
// the compose file interpolates, and a Docker config with auths. Both stay in
// memory; what a container is given of them is in Docker's files on the
// encrypted disk.
func (p *Project) Unseal(variables []string, auths []byte) error {
	p.secret = variables
	if len(auths) == 0 {
		return nil
	}
	var given struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken,omitempty"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(auths, &given); err != nil || len(given.Auths) == 0 {
		return errors.New("the registry credentials are not the auths of a Docker config") // the cause could quote one
	}
	b, err := json.Marshal(given) // without what else Docker would act upon
	if err != nil {
		return errors.New("encode the registry credentials")
	}
	defer clear(b)
	folder := p.engine.folders.dockerConfig()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("prepare Docker's config: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), b, 0o600); err != nil {
		return fmt.Errorf("write Docker's config: %w", err)
	}
	return nil
}

// command is docker compose with args. It sees no variable of this process:
// what the compose file interpolates is measured, sealed by the owner under a
// name that is, or empty.
func (p *Project) command(ctx context.Context, args ...string) *exec.Cmd {
	base := []string{
		"--project-name", p.Name, "--project-directory", p.Folder, "--env-file", p.variables(), "--file", p.file(), "--ansi", "never", "--progress", "plain",
	}
	for _, overlay := range p.overlays {
		base = append(base, "--file", overlay)
	}
	for _, profile := range p.Profiles {
		base = append(base, "--profile", profile)
	}
	cmd := exec.CommandContext(ctx, dockerCompose, append(base, args...)...)
	cmd.Dir = p.Folder
	cmd.Env = append([]string{
		searchPath, "HOME=/root",
		"DOCKER_HOST=unix://" + p.engine.folders.gateSocket(),
		"DOCKER_CONFIG=" + p.engine.folders.dockerConfig(),
	}, lazyCollector...)
	cmd.Env = append(cmd.Env, p.secret...)
	return cmd
}

// Up creates and starts the containers, pulling images as needed, and waits
// until each is running, healthy where it has a health check, or has finished
// its work. It returns a summary for people.
func (p *Project) Up(ctx context.Context) (string, error) {
	lines := &lineWriter{each: func(s string) {
		if strings.HasPrefix(s, "Container ") || strings.Contains(s, "Pull") {
			p.note(s)
		}
	}}
	var log tailLog
	cmd := p.command(ctx, "up", "--detach", "--no-build", "--remove-orphans", "--quiet-pull")
	cmd.Stdout = io.MultiWriter(lines, &log)
	cmd.Stderr = cmd.Stdout
	if _, err := p.engine.commands.Run(ctx, cmd); err != nil {
		return "", fmt.Errorf("docker compose up: %w: %s", err, log.last())
	}
	return p.wait(ctx)
}

// Ailing says which containers failed of a project that was brought up.
type Ailing struct{ What string }

func (a *Ailing) Error() string { return a.What }

// look lists the containers, and tells what it saw, sorted by name.
func (p *Project) look(ctx context.Context) ([]container, error) {
	list, err := p.engine.docker.containers(ctx, p.Name)
	if err == nil && p.seen != nil {
		seen := make([]Container, 0, len(list))
		for _, c := range list {
			seen = append(seen, c.public())
		}
		slices.SortFunc(seen, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
		p.seen(seen)
	}
	return list, err
}

// wait watches the containers until they are good, or one has failed for good.
func (p *Project) wait(ctx context.Context) (string, error) {
	// A container that failed may have a restart policy, and one that is
	// unhealthy may recover: give both a few looks.
	const patience = 10 * time.Second
	var failedSince time.Time
	for {
		list, err := p.look(ctx)
		if err != nil {
			return "", err
		}
		text, worst := summary(list)
		switch {
		case worst == good:
			return text, nil
		case worst != failed:
			failedSince = time.Time{}
		case failedSince.IsZero():
			failedSince = time.Now()
		case time.Since(failedSince) > patience:
			return "", &Ailing{text}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s: %w", text, ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Down stops and removes the containers and networks; volumes stay. Each
// container has grace to end before it is killed.
func (p *Project) Down(ctx context.Context, grace time.Duration) error {
	cmd := p.command(ctx, "down", "--remove-orphans", "--timeout", fmt.Sprint(int(grace.Seconds())))
	if out, err := p.engine.commands.Run(ctx, cmd); err != nil {
		return fmt.Errorf("docker compose down: %w: %s", err, lastLine(out))
	}
	return nil
}

// lineWriter calls each for every line written to it, trimmed.
type lineWriter struct {
	each    func(string)
	partial []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, found := strings.Cut(string(w.partial), "\n")
		if !found {
			break
		}
		w.partial = []byte(rest)
		if line = strings.TrimSpace(line); line != "" {
			w.each(line)
		}
	}
	if len(w.partial) > 64<<10 { // no line is that long
		w.partial = nil
	}
	return len(p), nil
}
