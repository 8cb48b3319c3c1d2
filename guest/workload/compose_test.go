package workload

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorder is Commands that run nothing and answer what the test says.
type recorder struct {
	cmds   []*exec.Cmd
	output []byte
	err    error
}

func (r *recorder) Start(*exec.Cmd) error { return errors.New("unexpected") }
func (r *recorder) Wait(*exec.Cmd) error  { return errors.New("unexpected") }

func (r *recorder) Run(_ context.Context, cmd *exec.Cmd) ([]byte, error) {
	r.cmds = append(r.cmds, cmd)
	if cmd.Stderr != nil && r.err != nil {
		_, _ = io.WriteString(cmd.Stderr, "first\nyaml: line 3: broken\n")
	}
	return r.output, r.err
}

func project(t *testing.T, r *recorder) *Project {
	t.Helper()
	e := NewEngine(Folders{Run: "/run", Data: "/data"}, r, func(string) {})
	p, err := e.Project("guestbook", filepath.Join(t.TempDir(), "w"), []byte("services: {}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUpAndDown(t *testing.T) {
	r := &recorder{err: errors.New("exit status 18")}
	p := project(t, r)
	if _, err := p.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "docker compose up: exit status 18") || !strings.Contains(err.Error(), "yaml: line 3: broken") {
		t.Errorf("a broken file: %v", err)
	}
	r.err = nil
	if err := p.Down(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
	for i, end := range []string{"up --detach --no-build --remove-orphans --quiet-pull", "down --remove-orphans --timeout 10"} {
		args := strings.Join(r.cmds[i].Args, " ")
		if !strings.HasSuffix(args, end) || !strings.Contains(args, "--project-name guestbook") || !strings.Contains(args, "--file "+p.Folder+".yaml") || !strings.Contains(args, "--env-file "+p.Folder+".env") {
			t.Errorf("ran %s", args)
		}
	}
}

// TestB4_ComposeSeesNoVariables: what the compose file interpolates cannot
// come from the machine's environment, which nothing measures.
func TestB4_ComposeSeesNoVariables(t *testing.T) {
	t.Setenv("POSTGRES_PASSWORD", "from outside")
	cmd := project(t, &recorder{}).command(t.Context(), "up")
	for _, v := range cmd.Env {
		name, _, _ := strings.Cut(v, "=")
		if !slices.Contains([]string{"PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "GOGC", "GOMEMLIMIT"}, name) {
			t.Errorf("compose sees %s", v)
		}
	}
	if len(cmd.Env) == 0 {
		t.Error("an empty environment means the process's own")
	}
}

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{each: func(s string) { got = append(got, s) }}
	for _, part := range []string{" a", "b \n\n c\nd", "\ne"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if strings.Join(got, "|") != "ab|c|d" {
		t.Errorf("got %q", got)
	}
}

func TestForward(t *testing.T) {
	registry, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	go func() {
		for {
			c, err := registry.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(c) // until the client's half is closed
			_, _ = c.Write([]byte("registry got " + string(b)))
			c.Close()
		}
	}()
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Forward(ctx, near, registry.Addr().String()) }()
	c, err := net.Dial("tcp", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("hello"))
	_ = c.(*net.TCPConn).CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "registry got hello" {
		t.Errorf("got %q, %v", b, err)
	}
	open, err := net.Dial("tcp", near.Addr().String()) // an idle connection must not hold the end up
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("forward ended with %v", err)
	}
	if _, err := net.Dial("tcp", near.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
