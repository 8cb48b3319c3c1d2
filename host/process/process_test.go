package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary plays the child, so that no other program is needed.
func TestMain(m *testing.M) {
	switch os.Getenv("PROCESS_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "fail":
		fmt.Println("one line")
		fmt.Fprintln(os.Stderr, "\x1b[31mcannot open the thing")
		os.Exit(3)
	case "polite":
		fmt.Println("ready")
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		<-c
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Minute)
	case "parent": // starts a child and shows its pid, then waits to be killed
		p, err := Start(Spec{Name: "grandchild", Argv: []string{os.Args[0]}, Env: []string{"PROCESS_TEST_CHILD=stubborn"}, Log: os.Args[1]})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID())
		time.Sleep(time.Minute)
	}
	os.Exit(0)
}

// start runs the test binary as a child and waits until it has printed a line.
func start(t *testing.T, role string) *Process {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	p, err := Start(Spec{
		Name: "child", Argv: []string{os.Args[0]}, Env: []string{"PROCESS_TEST_CHILD=" + role},
		Log: filepath.Join(t.TempDir(), "log"), Stdout: write,
	})
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if line, err := bufio.NewReader(read).ReadString('\n'); err != nil {
		t.Fatalf("child printed %q, %v", line, err)
	}
	return p
}

func TestFailureShowsTheLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start(Spec{Name: "kmsd", Argv: []string{os.Args[0]}, Env: []string{"PROCESS_TEST_CHILD=fail"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	text := p.Failure().Error()
	for _, want := range []string{"kmsd ended: exit status 3", "one line", "    cannot open the thing", log} {
		if !strings.Contains(text, want) {
			t.Errorf("failure is %q, want %q in it", text, want)
		}
	}
	if strings.Contains(text, "\x1b") || p.Running() {
		t.Errorf("failure is %q, running %v", text, p.Running())
	}
}

func TestStartOfNothing(t *testing.T) {
	_, err := Start(Spec{Name: "kmsd", Argv: []string{"/does/not/exist"}, Log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start kmsd") {
		t.Errorf("error is %v", err)
	}
}

func TestStop(t *testing.T) {
	if err := start(t, "polite").Stop(10 * time.Second); err != nil {
		t.Errorf("stop of a polite child: %v", err)
	}
	p := start(t, "stubborn")
	if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("stop of a stubborn child: %v", err)
	}
	if p.Running() {
		t.Error("it still runs")
	}
	if err := p.Stop(time.Second); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

// ^C in a terminal goes to the foreground process group: children are in others.
func TestChildIsInItsOwnGroup(t *testing.T) {
	p := start(t, "polite")
	group, err := syscall.Getpgid(p.PID())
	if err != nil || group != p.PID() {
		t.Errorf("group of %d is %d, %v", p.PID(), group, err)
	}
}

func TestNothingSurvivesAKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0], filepath.Join(t.TempDir(), "log"))
	parent.Env = append(os.Environ(), "PROCESS_TEST_CHILD=parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	grandchild, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("parent printed %q", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for end := time.Now().Add(10 * time.Second); alive(grandchild); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_ = syscall.Kill(grandchild, syscall.SIGKILL)
			t.Fatalf("process %d outlives its parent", grandchild)
		}
	}
}

// alive reports whether pid runs; a zombie that init has not reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}
