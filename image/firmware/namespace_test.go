package firmware

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

	"github.com/secretvm/secretvm/vm"
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
			os.Exit(2)
		}
		if err := os.WriteFile("/b/OVMF.fd", []byte("firmware"), 0o600); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) == 6 && os.Args[1] == "enter":
		code, err := Enter(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
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

// newTestBuild has a toolchain that consists of this program alone.
func newTestBuild(t *testing.T, platform string) *build {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	b := &build{Options: Options{Platform: Platform{TEE: vm.TDX, name: platform}, Enter: []string{self, "enter"}}}
	b.toolchain, b.work = t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(b.toolchain, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.toolchain, "usr/bin/bash"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(b.work)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := layOut(root); err != nil {
		t.Fatal(err)
	}
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
	b := newTestBuild(t, "Tdx")
	c := namespaced(t.Context(), b.Enter, b.toolchain, b.work, "Tdx", "2")
	output, err := c.Output()
	skipForbidden(t, output, err)
	if err != nil {
		t.Fatal(err)
	}
	var v view
	if err := json.Unmarshal(output, &v); err != nil {
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
	b := newTestBuild(t, "Tdx")
	output, err := namespaced(t.Context(), b.Enter, b.toolchain, b.work, "Tdx", "1").Output()
	skipForbidden(t, output, err)
	if _, err := b.compile(t.Context()); err != nil || !bytes.Equal(b.image, []byte("firmware")) {
		t.Errorf("built %q, %v", b.image, err)
	}
	b = newTestBuild(t, "Broken")
	if _, err := b.compile(t.Context()); err == nil || !strings.Contains(err.Error(), "undeclared identifier") {
		t.Errorf("error is %v, want one that shows the end of the output", err)
	}
	// A root that cannot be set up: the way out is named.
	b = newTestBuild(t, "Tdx")
	b.toolchain = filepath.Join(b.toolchain, "absent")
	if _, err := b.compile(t.Context()); err == nil || !strings.Contains(err.Error(), Variable) {
		t.Errorf("error is %v, want one that names %s", err, Variable)
	}
}

// Built firmware counts only with the committed SHA-256; other is kept aside.
func TestCheckRefusesOtherFirmware(t *testing.T) {
	b := &build{Options: Options{CacheDir: t.TempDir(), Platform: Platform{TEE: vm.SNP, SHA256: vm.HashOf([]byte("firmware"))}}, image: []byte("Firmware")}
	if err := os.MkdirAll(filepath.Dir(b.cacheFile()), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := b.check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "SHA256SUMS") {
		t.Errorf("error is %v, want one that names SHA256SUMS", err)
	}
	if kept, e := os.ReadFile(b.cacheFile() + ".different"); e != nil || !bytes.Equal(kept, b.image) {
		t.Errorf("the other firmware is not kept: %v", e)
	}
	if _, e := os.Stat(b.cacheFile()); e == nil {
		t.Error("the other firmware is in the cache")
	}
	b.image = []byte("firmware")
	if _, err := b.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, e := os.ReadFile(b.cacheFile()); e != nil || !bytes.Equal(kept, b.image) {
		t.Errorf("the right firmware is not in the cache: %v", e)
	}
}
