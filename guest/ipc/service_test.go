package ipc

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/ipc/ipctest"
)

// TestMain is also the program of the services under test, which do what their
// settings say.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && strings.HasPrefix(os.Args[1], "part-") {
		if err := part(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type settings struct {
	Folder string // where to leave a word
	Secret []byte
}

func part(name string) error {
	var s settings
	if err := Settings(&s); err != nil {
		return err
	}
	if err := Confine(); err != nil {
		return err
	}
	var data unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_DATA, nil, &data); err != nil {
		return err
	}
	privileges, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	word := fmt.Sprintf("uid %d gid %d data %d confined %d env %d secret %x\n", os.Getuid(), os.Getgid(), data.Cur, privileges, len(os.Environ()), s.Secret)
	f, err := os.OpenFile(filepath.Join(s.Folder, "word"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(word); err != nil {
		return err
	}
	if name == "part-short" {
		return nil
	}
	ctx, stop := UntilStopped()
	defer stop()
	l, err := Inherited(0)
	if err != nil {
		return err
	}
	server := NewServer(nil)
	Handle(server, "whoami", func(context.Context, struct{}) (int, error) { return os.Getuid(), nil })
	if err := server.Serve(ctx, l); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Folder, "stopped"), nil, 0o600)
}

type commands struct{}

func (commands) Start(cmd *exec.Cmd) error { return cmd.Start() }
func (commands) Wait(cmd *exec.Cmd) error  { return cmd.Wait() }

// program copies the test's own program to where any user can start it.
func program(t *testing.T) (path, folder string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can start processes of other users")
	}
	path, folder = ipctest.Program(t)
	if err := os.Chown(folder, UserAPI, UserAPI); err != nil {
		t.Fatal(err)
	}
	return path, folder
}

func words(t *testing.T, folder string, n int) []string {
	t.Helper()
	for range 600 {
		text, _ := os.ReadFile(filepath.Join(folder, "word"))
		if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); len(text) > 0 && len(lines) >= n {
			return lines
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: the service did not come %d times", folder, n)
	return nil
}

// TestServiceHasNoRights: a service runs as its user, with a bound on its memory,
// no environment, no way to new rights, and with the settings that it was given.
func TestServiceHasNoRights(t *testing.T) {
	path, folder := program(t)
	socket := filepath.Join(folder, "socket")
	l, err := Listen(t.Context(), socket, 0)
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := Service{Program: path, Part: "part-long", User: UserAPI, Files: []*os.File{file}, Spared: true, Settings: settings{folder, []byte{1, 2, 3}}}.Start(commands{})
	if err != nil {
		t.Fatal(err)
	}
	c := Dial(socket, nil)
	defer c.Close()
	if uid, err := Ask[struct{}, int](t.Context(), c, "whoami", struct{}{}); err != nil || uid != UserAPI {
		t.Errorf("asked before it was ready, it answers %d, %v", uid, err)
	}
	want := fmt.Sprintf("uid %d gid %d data %d confined 1 env 0 secret 010203", UserAPI, UserAPI, maxData)
	if got := words(t, folder, 1)[0]; got != want {
		t.Errorf("the service says %q, want %q", got, want)
	}
	adj, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", r.cmd.Process.Pid))
	if may := os.WriteFile("/proc/self/oom_score_adj", []byte("-1"), 0) == nil; may && (err != nil || strings.TrimSpace(string(adj)) != "-900") {
		t.Errorf("spared: %s, %v", adj, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "stopped")); err != nil {
		t.Errorf("it was not asked to stop: %v", err)
	}
}

// TestServiceIsKept: one that ends is started again, and said to be.
func TestServiceIsKept(t *testing.T) {
	path, folder := program(t)
	var mu sync.Mutex
	var notes []string
	stop, err := Service{Program: path, Part: "part-short", User: UserAPI, Settings: settings{Folder: folder}}.Keep(t.Context(), commands{}, func(s string) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	words(t, folder, 3)
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(notes) < 2 || notes[0] != "part-short ended, starting it again: it ended" {
		t.Errorf("notes %q", notes)
	}
	if _, err := (Service{Program: filepath.Join(folder, "none"), Part: "part-short"}).Keep(t.Context(), commands{}, nil); err == nil {
		t.Error("keeps a program that is not there")
	}
}
