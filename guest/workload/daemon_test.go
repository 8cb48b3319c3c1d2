package workload

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/gate"
	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/process"
)

// notes collects what is told to people.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

func (n *notes) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.list, "|")
}

func shell(script string) func() *exec.Cmd {
	return func() *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }
}

func TestDaemonIsStartedAgain(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	var said notes
	lost := make(chan struct{}, 9)
	d := &daemon{
		name: "engined", commands: new(process.Table), note: said.add, lost: func() { lost <- struct{}{} },
		command: shell("echo run >>" + runs + "; [ $(wc -l <" + runs + ") -gt 1 ] && exec sleep 60; echo out of luck >&2; exit 4"),
	}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Fatal("its end was not noticed")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if b, _ := os.ReadFile(runs); strings.Count(string(b), "run") == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it was not started again")
		}
	}
	if text := said.all(); !strings.Contains(text, "engined ended (exit status 4), starting it again in 1s: out of luck") {
		t.Errorf("said %q", text)
	}
	if d.deaths() != 1 {
		t.Errorf("%d deaths, want 1", d.deaths())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	if err := d.end(ctx); err != nil || time.Since(start) > 3*time.Second {
		t.Errorf("end: %v after %v", err, time.Since(start))
	}
	if err := d.end(ctx); err != nil {
		t.Errorf("end again: %v", err)
	}
}

func TestDaemonThatWillNotEnd(t *testing.T) {
	d := &daemon{name: "engined", commands: new(process.Table), note: func(string) {}, command: shell("trap '' TERM; echo up; while :; do sleep 0.1; done")}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	for d.log.last() != "up" {
		time.Sleep(5 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := d.end(ctx); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("end: %v", err)
	}
	select {
	case <-d.done:
	default:
		t.Error("it still runs")
	}
}

func TestDaemonThatIsMissing(t *testing.T) {
	d := &daemon{name: "engined", commands: new(process.Table), note: func(string) {}, command: func() *exec.Cmd { return exec.Command("/nonexistent") }}
	if err := d.start(); err == nil {
		t.Error("start: no error")
	}
	if err := d.end(t.Context()); err != nil {
		t.Errorf("end of what never ran: %v", err)
	}
}

func TestEngineThatKeepsDying(t *testing.T) {
	f := Folders{Run: t.TempDir(), Data: t.TempDir()}
	e := NewEngine(f, new(process.Table), func(string) {})
	e.dockerd.died, e.dockerd.log = maxDeaths, tailLog{}
	_, _ = e.dockerd.log.Write([]byte("no such plugin\n"))
	if err := e.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "dockerd does not start: no such plugin") {
		t.Errorf("ready: %v", err)
	}
}

// TestDaemonSettings holds what dockerd reads against what it is to be told: it
// ignores features that it does not know.
func TestDaemonSettings(t *testing.T) {
	for _, c := range []struct {
		policy gate.Policy
		want   string
	}{
		{gate.Policy{}, `{"features":{"cdi":false,"containerd-snapshotter":false,"embedded-containerd":true,"time-namespaces":false}}`},
		{
			gate.Policy{GPUs: true},
			`{"features":{"cdi":true,"containerd-snapshotter":false,"embedded-containerd":true,"time-namespaces":false},"cdi-spec-dirs":["` + gpu.CDIFolder + `"]}`,
		},
	} {
		if got, err := json.Marshal(dockerdSettings(c.policy)); err != nil || string(got) != c.want {
			t.Errorf("GPUs %t: %s, %v", c.policy.GPUs, got, err)
		}
	}
}
