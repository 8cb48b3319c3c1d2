//go:build faults

// Package faults runs four real kmsd processes and breaks them, one after the
// other, while machines keep asking for their keys.
package faults

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
)

// members is how many nodes there are; any three of them make keys.
const members = 4

// process is one kmsd.
type process struct {
	index   int // from 1
	home    node.Home
	api     string
	peer    string // id@host:port where it listens itself
	log     string // file
	program string // to start next
	skew    int32  // seconds by which its clock is wrong
	right   []byte // code of its clock when it was right
	flags   []string

	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	down bool          // the test wants it to be down
	ends []string      // how it ended by itself
}

// chainOfFour is the committee, the lines between its nodes and its PKI.
type chainOfFour struct {
	made  node.MadeTestnet
	pki   *emulator.PKI
	nodes []*process
	lines map[[2]int]*line // by indices, the smaller first; empty: nodes connect directly
	http  *http.Client
	disk  string // file that fills the last node's own file system; empty: it has none

	mu         sync.Mutex
	violations int
	still      atomic.Int64 // nanoseconds in which nothing ran here
}

// starts runs what starts processes on one thread that stays: the kernel ends
// them when the thread that started them does, however the test ends.
var starts = func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

var kmsd = flag.String("kmsd", "", "the program to test; empty: build it")

// build compiles kmsd.
func build(t *testing.T, dir string) string {
	t.Helper()
	if *kmsd != "" {
		return *kmsd
	}
	out := filepath.Join(dir, "kmsd")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", out, "../../cmd/kmsd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build kmsd: %v: %s", err, text)
	}
	return out
}

// newChain makes four homes and starts their nodes; with lines, every connection
// between them goes through this process.
func newChain(t *testing.T, program string, withLines bool, flags ...string) *chainOfFour {
	t.Helper()
	dir, logs := t.TempDir(), t.ArtifactDir() // go test -artifacts keeps what the nodes logged
	c := &chainOfFour{lines: map[[2]int]*line{}, http: &http.Client{Timeout: 5 * time.Second}}
	if withLines {
		c.smallDisk(t, filepath.Join(dir, fmt.Sprintf("node%d", members)))
	}
	var err error
	c.pki, err = emulator.NewPKI(time.Now())
	must(t, err)
	c.made, err = node.Testnet(dir, node.TestnetOptions{
		ChainID: "secretvm-faults-1", Nodes: members, TrustRoots: []string{string(c.pki.RootPEM())},
		Params: func(p *committee.Params) { p.PhaseBlocks, p.PhaseSeconds, p.RetrySeconds = 20, 10, 1 },
	})
	must(t, err)
	for i, h := range c.made.Homes {
		p := &process{index: i + 1, home: h.Home, api: h.API, peer: h.Peer, log: filepath.Join(logs, fmt.Sprintf("node%d.log", i+1)), program: program, flags: flags}
		c.nodes = append(c.nodes, p)
	}
	if withLines {
		c.connect(t)
	}
	begin := time.Now()
	for _, p := range c.nodes {
		p.start(t)
		t.Cleanup(p.kill)
	}
	for _, p := range c.nodes {
		if _, ok := c.within(t, 60*time.Second, func() bool { _, err := c.status(p); return err == nil }); !ok {
			t.Fatalf("node %d makes no keys after a minute: %s", p.index, p.tail())
		}
	}
	t.Logf("four nodes made a key %.1f s after they started", time.Since(begin).Seconds())
	return c
}

// connect puts a line between every two nodes and tells the homes of them.
func (c *chainOfFour) connect(t *testing.T) {
	t.Helper()
	for _, from := range c.nodes {
		path := filepath.Join(string(from.home), "config", "node.json")
		b, err := os.ReadFile(path)
		must(t, err)
		var s node.Settings
		must(t, json.Unmarshal(b, &s))
		for _, to := range c.nodes {
			if to == from {
				continue
			}
			id, target, _ := strings.Cut(to.peer, "@")
			s.Peers = append(s.Peers, id+"@"+c.line(from, to).listen(t, target))
		}
		b, err = json.Marshal(s)
		must(t, err)
		must(t, os.WriteFile(path, b, 0o600))
	}
}

// line is the one between two nodes.
func (c *chainOfFour) line(a, b *process) *line {
	key := [2]int{min(a.index, b.index), max(a.index, b.index)}
	if c.lines[key] == nil {
		c.lines[key] = newLine()
	}
	return c.lines[key]
}

// start runs the node's program in its home.
func (p *process) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer func() { _ = log.Close() }()
	args := append([]string{"--home", string(p.home), "start", "--listen", strings.TrimPrefix(p.api, "http://"), "--log-level", "info"}, p.flags...)
	p.down = false
	p.cmd = exec.Command(p.program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	starts <- func() { started <- p.cmd.Start() }
	must(t, <-started)
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	if p.skew != 0 {
		p.setClock(t, p.skew)
	}
}

// kill ends the process at once, as a power cut does for it.
func (p *process) kill() {
	p.down = true
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail is the end of what the node logged.
func (p *process) tail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-3000):])
}

// last is the line that the node logged last.
func (p *process) last() string {
	lines := strings.Split(strings.TrimSpace(p.tail()), "\n")
	return lines[len(lines)-1]
}

// height is the block that the node logged last, also while it is too busy with
// fetching blocks to answer.
func (p *process) height() (height int64) {
	for line := range strings.Lines(p.tail()) {
		if _, after, ok := strings.Cut(line, `msg="committed state" module=state height=`); ok {
			_, _ = fmt.Sscan(after, &height)
		}
	}
	return height
}

// status asks one node.
func (c *chainOfFour) status(p *process) (wire.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var s wire.Status
	err := wire.Call(ctx, c.http, http.MethodGet, p.api, wire.PathStatus, nil, &s)
	return s, err
}

// top is the highest block that one of some nodes names.
func top(c *chainOfFour, nodes []*process) (height int64) {
	for _, p := range nodes {
		if s, err := c.status(p); err == nil {
			height = max(height, s.Newest)
		}
	}
	return height
}

// watch does what a supervisor does: a node that ended by itself is started again
// after a second.
func (c *chainOfFour) watch(t *testing.T) {
	t.Helper()
	for _, p := range c.nodes {
		if p.down || !p.ended() {
			continue
		}
		time.Sleep(time.Second)
		code := p.cmd.ProcessState.ExitCode()
		words := p.last()
		p.ends = append(p.ends, fmt.Sprintf("exit code %d: %s", code, words))
		if code == 0 || !strings.Contains(words, "kmsd: ") && !strings.Contains(words, "hint: ") {
			t.Logf("node %d ended with code %d: %s", p.index, code, p.tail())
		}
		p.start(t)
	}
}

// violate notes that something happened that never may.
func (c *chainOfFour) violate(t *testing.T, format string, args ...any) {
	t.Helper()
	c.mu.Lock()
	c.violations++
	c.mu.Unlock()
	t.Errorf(format, args...)
}

// within waits until done, and says how long that took. Time in which this whole
// computer stood still does not count.
func (c *chainOfFour) within(t *testing.T, limit time.Duration, done func() bool) (time.Duration, bool) {
	t.Helper()
	begin, still := time.Now(), c.still.Load()
	took := func() time.Duration { return time.Since(begin) - time.Duration(c.still.Load()-still) }
	for took() < limit {
		c.watch(t)
		if done() {
			return took(), true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return limit, false
}

// stand adds up for how long this process was not run at all, until ctx ends.
func (c *chainOfFour) stand(ctx context.Context) {
	for before := time.Now(); ctx.Err() == nil; {
		time.Sleep(100 * time.Millisecond)
		now := time.Now()
		if gap := now.Sub(before); gap > 2*time.Second {
			c.still.Add(int64(gap))
		}
		before = now
	}
}

func (c *chainOfFour) urls() (out []string) {
	for _, p := range c.nodes {
		out = append(out, p.api)
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
