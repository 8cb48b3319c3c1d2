//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/tee/soft/emulator"
)

// A key manager of four nodes of which one does not run, and whose port takes
// connections and never answers: the machine gets its keys from the others, and
// what its owner sealed before it was ever started reaches the container.
func TestFourNodesOneDownAndASealedEnvironment(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{repository: repository, state: filepath.Join(t.TempDir(), "state"), upArgs: []string{"--kms-nodes", "4"}, workload: "test/e2e/sealed"}
	if *kernel != "generic" {
		l.build(t, filepath.Join(t.TempDir(), "image"))
		l.upArgs = append(l.upArgs, "--kms-nodes", "4")
	}
	if _, err := emulator.LoadOrCreatePKI(filepath.Join(l.state, "pki")); err != nil {
		t.Fatal(err)
	}
	kms := filepath.Join(l.state, "kms")
	owner := filepath.Join(kms, "node1")
	l.must(t, "kmsd", "testnet", "--nodes", "4", "--first-port", "0", "--dir", kms, "--trust-root", filepath.Join(l.state, "pki", emulator.RootFile))

	// The owner registers the service and seals its environment; there is no
	// machine yet.
	stop := l.runNodes(t, kms, 4)
	l.must(t, "secretvm", "service", "create", "sealed", "--home", owner)
	env := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(env, []byte("BOOK_DATABASE=db:6379\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.must(t, "secretvm", "service", "env", "set", "sealed", "--env-file", env, "--home", owner)
	stop()

	// Node 4's port is another program's, which is as deaf as they come.
	var made struct {
		Homes []struct {
			API string `json:"api"`
		} `json:"homes"`
	}
	text, err := os.ReadFile(filepath.Join(kms, "testnet.json"))
	if err != nil || json.Unmarshal(text, &made) != nil || len(made.Homes) != 4 {
		t.Fatalf("testnet.json: %v: %s", err, text)
	}
	deaf, err := net.Listen("tcp", strings.TrimPrefix(made.Homes[3].API, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()

	s := l.up(t)
	for _, step := range s.result.Steps {
		t.Logf("%-12s %8s  %s", step.Name, seconds(step.Took), step.Remark)
	}
	if len(s.result.KMS) != 4 || !strings.Contains(strings.Join(s.result.Notes, "\n"), "node4 ended") {
		t.Errorf("key manager %q, notes %q", s.result.KMS, s.result.Notes)
	}
	s.story(t)
	code, out, errOut := l.secretvm(t, s.result.Verify[1:]...)
	if code != 0 {
		t.Errorf("the printed verify line ends with %d:\n%s%s", code, out, errOut)
	}
	s.down(t)
}

// must runs a command that has to succeed.
func (l *lab) must(t *testing.T, program string, args ...string) (stdout string) {
	t.Helper()
	code, out, errOut := l.run(t, program, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit %d:\n%s%s", program, strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// runNodes runs the nodes of a chain until stop is called, and returns when they
// make keys.
func (l *lab) runNodes(t *testing.T, kms string, n int) (stop func()) {
	t.Helper()
	var nodes []*exec.Cmd
	home := func(i int) string { return filepath.Join(kms, "node"+strconv.Itoa(i)) }
	for i := 1; i <= n; i++ {
		c := exec.Command(filepath.Join(l.repository, "bin", "kmsd"), "start", "--home", home(i))
		c.Stderr = testWriter{t}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, c)
	}
	stop = func() {
		for _, c := range nodes {
			_ = c.Process.Signal(syscall.SIGTERM)
		}
		for _, c := range nodes {
			_ = c.Wait()
		}
		nodes = nil
	}
	t.Cleanup(stop)
	for end := time.Now().Add(time.Minute); ; time.Sleep(300 * time.Millisecond) {
		code, out, errOut := l.run(t, "kmsd", "status", "--home", home(1))
		if code == 0 {
			return stop
		}
		if time.Now().After(end) {
			t.Fatalf("the nodes make no key: %s%s", out, errOut)
		}
	}
}
