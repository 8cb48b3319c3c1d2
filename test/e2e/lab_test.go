//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/vm"
)

// Emulated boots share two cores with whatever else runs: bounds are for
// telling a hang from a slow machine, not for timing.
const (
	upTimeout   = 10 * time.Minute // a cold cache builds the image first
	machineTime = 4 * time.Minute  // one more machine, beside others on two cores
	bootTimeout = 6 * time.Minute
	downTimeout = 2 * time.Minute
)

// lab is one installation, made by the first test that asks for it through
// `secretvm up`, exactly as `make up` does.
type lab struct {
	repository string
	state      string
	result     local.Result // of the newest `secretvm up`
	manifest   vm.Manifest
	image      string // image folder
	upArgs     []string
	workload   string // folder
	others     int    // machines that are booted before the workload's
}

// kernel is which of the two kernels the machines run.
var kernel = flag.String("kernel", "generic", "kernel of the image: generic, minimal, or a prebuilt `FILE` of the minimal one")

// long adds what takes many minutes on two cores: it boots machines for other machines.
var long = flag.Bool("long", false, "run the tests that boot several machines one after the other")

// keyMachines is of how many machines TestKeyManagerInAMachine makes a key manager.
var keyMachines = flag.Int("key-machines", 1, "with -long: key manager nodes that are machines")

var (
	labOnce sync.Once
	theLab  *lab
	labDir  string
)

func TestMain(m *testing.M) {
	code := m.Run()
	if labDir != "" {
		os.RemoveAll(labDir)
	}
	os.Exit(code)
}

// open returns the lab, whose guestbook has run once and holds a diary entry.
func open(t *testing.T) *lab {
	t.Helper()
	labOnce.Do(func() { theLab = newLab(t) })
	if theLab == nil {
		t.Fatal("the lab could not be set up: see the first test")
	}
	return theLab
}

func newLab(t *testing.T) *lab {
	t.Helper()
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if labDir, err = os.MkdirTemp("", "secretvm-e2e-"); err != nil {
		t.Fatal(err)
	}
	l := &lab{repository: repository, state: filepath.Join(labDir, "state"), workload: "examples/guestbook"}
	if *kernel != "generic" {
		l.build(t, filepath.Join(labDir, "image"))
	}
	up := l.up(t)
	up.story(t)
	up.openEpoch(t)
	up.down(t)
	return l
}

// build makes the image with another kernel than up would choose.
func (l *lab) build(t *testing.T, folder string) {
	t.Helper()
	command := exec.Command(filepath.Join(l.repository, "bin", "secretvm"), "image", "build", "--kernel", *kernel, "--output", folder)
	command.Dir = l.repository
	command.Stderr = testWriter{t}
	if err := command.Run(); err != nil {
		t.Fatalf("secretvm image build --kernel %s: %v", *kernel, err)
	}
	l.upArgs = []string{"--image", folder}
}

// session is one running `secretvm up`.
type session struct {
	*lab
	command *exec.Cmd
	stderr  *bytes.Buffer
	ended   chan error
}

// up runs `secretvm up` with the lab's workload until the workload answers.
func (l *lab) up(t *testing.T) *session {
	t.Helper()
	s := &session{lab: l, stderr: &bytes.Buffer{}, ended: make(chan error, 1)}
	args := slices.Concat([]string{"up", "--json", "--state", l.state}, l.upArgs, []string{l.workload})
	s.command = exec.Command(filepath.Join(l.repository, "bin", "secretvm"), args...)
	s.command.Dir = l.repository
	s.command.Stderr = io.MultiWriter(s.stderr, testWriter{t})
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.command.Process.Signal(syscall.SIGTERM) }) // for a test that fails before down
	decoded := make(chan error, 1)
	go func() {
		decoded <- json.NewDecoder(stdout).Decode(&l.result)
		io.Copy(io.Discard, stdout)
		s.ended <- s.command.Wait()
	}()
	select {
	case err := <-decoded:
		if err != nil {
			t.Fatalf("secretvm up ended without a result (%v):\n%s", err, s.stderr)
		}
	case <-time.After(upTimeout + time.Duration(l.others)*machineTime):
		t.Fatalf("the workload does not answer after %s and %s for each of %d other machines:\n%s", upTimeout, machineTime, l.others, s.stderr)
	}
	if l.image == "" {
		l.readManifest(t)
	}
	return s
}

// readManifest finds the image through the verify line that up printed.
func (l *lab) readManifest(t *testing.T) {
	t.Helper()
	for i, arg := range l.result.Verify {
		if arg == "--manifest" {
			l.image = filepath.Dir(l.result.Verify[i+1])
		}
	}
	text, err := os.ReadFile(filepath.Join(l.image, vm.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	if l.manifest, err = vm.ParseManifest(text); err != nil {
		t.Fatal(err)
	}
}

// openEpoch has the chain make another group key beside the first, under which the
// next up runs.
func (s *session) openEpoch(t *testing.T) {
	t.Helper()
	home := filepath.Join(s.state, "kms")
	if code, out, errOut := s.run(t, "kmsd", "tx", "committee", "open-epoch", "--home", home); code != 0 {
		t.Fatalf("kmsd tx committee open-epoch: exit %d: %s%s", code, out, errOut)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		code, out, errOut := s.run(t, "kmsd", "status", "--epoch", "1", "--home", home)
		if code == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the key of epoch 1 is not there: %s%s", out, errOut)
		}
	}
}

// down presses Ctrl-C and waits for a clean end.
func (s *session) down(t *testing.T) {
	t.Helper()
	if err := s.command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		if failed := s.result.Failure != ""; (err != nil) != failed {
			t.Fatalf("secretvm up after Ctrl-C: %v, its workload failed: %v\n%s", err, failed, s.stderr)
		}
	case <-time.After(downTimeout):
		t.Fatalf("secretvm up has not ended %s after Ctrl-C:\n%s", downTimeout, s.stderr)
	}
	if !strings.Contains(s.stderr.String(), "the guest shut down") {
		t.Errorf("the guest was not shut down by its power button:\n%s", s.stderr)
	}
}

// secretvm runs one command of bin/ and returns its exit code and output.
func (l *lab) secretvm(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return l.run(t, "secretvm", args...)
}

func (l *lab) run(t *testing.T, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.repository, "bin", program), args...)
	cmd.Dir = l.repository
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// digest returns the SHA-256 of a file, holes included.
func digest(t *testing.T, file string) vm.Hash {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return vm.Hash(h.Sum(nil))
}

// contains reports whether a large file contains text.
func contains(t *testing.T, file, text string) bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	window := make([]byte, 0, 4<<20)
	for {
		n, err := f.Read(window[len(window):cap(window)])
		window = window[:len(window)+n]
		if bytes.Contains(window, []byte(text)) {
			return true
		}
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		keep := min(len(window), len(text))
		window = append(window[:0], window[len(window)-keep:]...)
	}
}

// testWriter shows a process's progress in the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimSpace(line); line != "" {
			w.t.Log(line)
		}
	}
	return len(p), nil
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }
