//go:build load

// Package load measures four real kmsd processes: how long a machine waits for
// its key, how many get theirs at once, and what that costs.
package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
)

// process is one kmsd.
type process struct {
	home    node.Home
	api     string
	profile string // host:port of its profiles
	log     string // file
	cmd     *exec.Cmd
}

// committee is what `kmsd testnet --nodes 4` made, and the PKI of the machines
// that it gives keys to.
type committee struct {
	program string
	made    node.MadeTestnet
	pki     *emulator.PKI
	nodes   []*process
	owner   node.Home // whose owner registers the service
}

// newCommittee builds kmsd, makes four homes with it and starts them.
func newCommittee(t *testing.T, dir string) *committee {
	t.Helper()
	c := &committee{}
	if c.program = *built; c.program == "" {
		c.program = filepath.Join(dir, "kmsd")
		command(t, "go", "build", "-trimpath", "-buildvcs=false", "-o", c.program, "../../cmd/kmsd")
	}
	var err error
	c.pki, err = emulator.NewPKI(time.Now())
	must(t, err)
	root := filepath.Join(dir, "root.pem")
	must(t, os.WriteFile(root, c.pki.RootPEM(), 0o600))
	out := command(t, c.program, "testnet", "--nodes", "4", "--dir", dir, "--first-port", "0", "--chain-id", "secretvm-load-1", "--trust-root", root, "--json")
	must(t, json.Unmarshal(out, &c.made))
	c.owner = c.made.Homes[0].Home
	begin := time.Now()
	for i, h := range c.made.Homes {
		p := &process{home: h.Home, api: h.API, profile: freeAddress(t), log: filepath.Join(dir, fmt.Sprintf("node%d.log", i+1))}
		c.nodes = append(c.nodes, p)
		c.start(t, p)
		t.Cleanup(p.kill)
	}
	for _, p := range c.nodes {
		for time.Since(begin) < time.Minute {
			if _, err = p.status(t.Context()); err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Fatalf("%s makes no keys after a minute: %v\n%s", p.home, err, p.tail())
		}
	}
	report("four nodes have a key %.1f s after they were started", time.Since(begin).Seconds())
	return c
}

// start runs a node until the test ends or kills it.
func (c *committee) start(t *testing.T, p *process) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(c.program, "start", "--home", string(p.home), "--pprof", p.profile)
	p.cmd.Stderr = log
	stdout, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go func() { // until the process ends
		for line := bufio.NewScanner(stdout); line.Scan(); {
		}
	}()
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-3000):])
}

func (p *process) status(ctx context.Context) (s wire.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err = wire.Call(ctx, http.DefaultClient, http.MethodGet, p.api, wire.PathStatus, nil, &s)
	return s, err
}

func (c *committee) urls() (out []string) {
	for _, p := range c.nodes {
		out = append(out, p.api)
	}
	return out
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// report prints a line of the result.
func report(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func cores() int { return runtime.NumCPU() }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
