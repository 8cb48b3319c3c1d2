package foundry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets this program be what a build starts: first Enter, then, under
// the name of the script's shell, a build that says what it sees.
func TestMain(m *testing.M) {
	switch {
	case os.Args[0] == "bash":
		if err := json.NewEncoder(os.Stdout).Encode(look()); err != nil {
			os.Exit(1)
		}
		if os.Args[2] == "Broken" {
			fmt.Println("error C2065: undeclared identifier")
			fmt.Print(strings.Repeat("  CC      other.o\n", 3*tail)) // other jobs go on
			os.Exit(2)
		}
		f, err := os.OpenFile("/b/result", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprint(f, os.Args[2])
		fmt.Println("Building " + os.Args[2])
		os.Exit(0)
	case len(os.Args) > 4 && os.Args[1] == "enter":
		code, err := Enter(os.Args[2], os.Args[3], os.Args[4:])
		fmt.Fprintln(os.Stderr, err)
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// view is what a build sees of the machine.
type view struct {
	Args, Environment, Root, Interfaces []string
	Dir                                 string
	PID, User                           int
	ToolsWritable                       bool
	Null                                string
}

func look() view {
	v := view{Args: os.Args, Environment: os.Environ(), PID: os.Getpid(), User: os.Getuid()}
	v.Dir, _ = os.Getwd()
	entries, _ := os.ReadDir("/")
	for _, e := range entries {
		v.Root = append(v.Root, e.Name())
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		v.Interfaces = append(v.Interfaces, i.Name)
	}
	v.ToolsWritable = os.WriteFile("/usr/bin/planted", nil, 0o600) == nil
	if info, err := os.Stat("/dev/null"); err == nil {
		v.Null = info.Mode().Type().String()
	}
	return v
}

// newTestBuild has a toolchain that consists of this program alone, and one stage
// for each of the words, which it adds to the result.
func newTestBuild(t *testing.T, words ...string) *build {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	b := &build{Options: Options{Enter: []string{self, "enter"}}, recipe: Recipe{
		Product: Product{Kind: "kernel", File: "k", Flag: "--kernel", Variable: "KERNEL_FILE", Home: "image/k"},
		Finish:  func(root *os.Root) ([]byte, error) { return root.ReadFile(Dir + "/result") },
		Notable: func(line string) (string, bool) { return strings.CutPrefix(line, "Building ") },
	}}
	for _, word := range words {
		b.recipe.Stages = append(b.recipe.Stages, Stage{Script: []string{"build.sh", word}})
	}
	b.toolchain = t.TempDir()
	if err := os.MkdirAll(filepath.Join(b.toolchain, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.toolchain, "usr/bin/bash"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.cleanUp(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// skipForbidden ends a test where the machine does not allow what it is about.
func skipForbidden(t *testing.T, output []byte, err error) {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() == enterFailed) {
		t.Skipf("no namespaces here, or this program needs libraries: %v %s", err, output)
	}
}

func TestBuildSeesNothingOfTheMachine(t *testing.T) {
	t.Setenv("CFLAGS", "-DEVIL")
	b := newTestBuild(t)
	c := b.namespaced(t.Context(), b.toolchain, b.work, []string{"build.sh", "Tdx", "2"})
	output, err := c.Output()
	skipForbidden(t, output, err)
	if err != nil {
		t.Fatal(err)
	}
	var v view
	if err := json.NewDecoder(bytes.NewReader(output)).Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	for _, c := range []struct{ what, got, want string }{
		{"arguments", strings.Join(v.Args, " "), "bash /b/build.sh Tdx 2"},
		{"environment", strings.Join(v.Environment, " "), strings.Join(environment, " ")},
		{"root folder", strings.Join(v.Root, " "), "b bin dev lib lib64 sbin tmp usr"},
		{"network", strings.Join(v.Interfaces, " "), "lo"},
		{"folder", v.Dir, "/b"},
		{"null device", v.Null, "Dc---------"},
		{"process, user, tools writable", fmt.Sprint(v.PID, v.User, v.ToolsWritable), "1 0 false"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestCompile(t *testing.T) {
	b := newTestBuild(t)
	output, err := b.namespaced(t.Context(), b.toolchain, b.work, []string{"build.sh", "Try", "1"}).Output()
	skipForbidden(t, output, err)

	b = newTestBuild(t, "One", "Two")
	var seen []byte
	b.recipe.Stages[0].Check = func(root *os.Root) (err error) {
		seen, err = root.ReadFile(Dir + "/result")
		return err
	}
	remark, err := b.compile(t.Context())
	if err != nil || string(b.content) != "OneTwo" || string(seen) != "One" || !strings.HasPrefix(remark, "2 objects") {
		t.Errorf("built %q (%s), %q after the first stage, %v", b.content, remark, seen, err)
	}
	// A check that fails ends the build before the next stage.
	b = newTestBuild(t, "One", "Two")
	b.recipe.Stages[0].Check = func(*os.Root) error { return errors.New("CONFIG_X did not take effect") }
	if _, err := b.compile(t.Context()); err == nil || !strings.Contains(err.Error(), "CONFIG_X") {
		t.Errorf("error is %v, want that of the check", err)
	}
	if got, err := b.root.ReadFile(Dir + "/result"); err != nil || string(got) != "One" {
		t.Errorf("after the check failed there is %q (%v)", got, err)
	}

	b = newTestBuild(t, "Broken")
	if _, err := b.compile(t.Context()); err == nil || !strings.Contains(err.Error(), "undeclared identifier") {
		t.Errorf("error is %v, want one that shows the end of the output", err)
	}
	// A root that cannot be set up: the way out is named.
	b = newTestBuild(t, "One")
	b.toolchain = filepath.Join(b.toolchain, "absent")
	if _, err := b.compile(t.Context()); err == nil || !strings.Contains(err.Error(), "--kernel FILE or KERNEL_FILE") {
		t.Errorf("error is %v, want one that names the flag and the variable", err)
	}
}
