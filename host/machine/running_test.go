package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// The test binary plays QEMU and the soft TEE, at the level of their command
// lines and sockets; the real ones run in test/e2e.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "play" {
		switch os.Args[2] {
		case "tee":
			playTEE()
		default:
			playQEMU(os.Args[2])
		}
		return
	}
	os.Exit(m.Run())
}

func playTEE() {
	i := slices.Index(os.Args, "--socket")
	l, err := net.Listen("unix", os.Args[i+1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		if _, err := l.Accept(); err != nil {
			return
		}
	}
}

// playQEMU prints a boot and then does what its role says.
func playQEMU(role string) {
	if role == "broken" {
		fmt.Fprintln(os.Stderr, "qemu-system-x86_64: -device: no such thing")
		os.Exit(1)
	}
	l, err := net.Listen("unix", qemu.QMPSocket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if _, err := net.Dial("unix", qemu.TEESocket); err != nil {
		fmt.Fprintln(os.Stderr, "the soft TEE does not listen:", err)
		os.Exit(1)
	}
	if role != "hung" {
		fmt.Print("\x1b[2JBdsDxe: loading\r\n")
	}
	switch role {
	case "halting":
		fmt.Println("secretvm: HALT keys: image-not-allowed: RTMR3 differs")
		return
	case "silent":
		return
	}
	if role != "hung" {
		fmt.Println(`secretvm: {"step":"disk","state":"ok","ms":512,"remark":"formatted"}`)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			fmt.Fprintln(conn, `{"QMP":{}}`)
			for in := bufio.NewScanner(conn); in.Scan(); {
				var c struct{ Execute string }
				_ = json.Unmarshal(in.Bytes(), &c)
				fmt.Fprintln(conn, `{"return":{}}`)
				if c.Execute == "system_powerdown" && role != "deaf" {
					fmt.Println("secretvm: bye")
					os.Exit(0)
				}
			}
		}()
	}
}

func testImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) vm.File { return vm.File{Name: name, Size: 1, SHA256: vm.HashOf([]byte(name))} }
	text, err := vm.Manifest{
		Version: 1, Name: "test", Firmware: file("OVMF.fd"), Kernel: file("vmlinuz"),
		Initramfs: file("initramfs.cpio"), Rootfs: file("rootfs.img"), CommandLine: "quiet",
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, vm.ManifestName, string(text))
	return dir
}

func boot(t *testing.T, role string) Boot {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Boot{
		Name: "test", QEMU: qemu.Binary{Argv: []string{self, "play", role}}, TEE: vm.Soft, Shape: vm.DefaultShape,
		Image: testImage(t), Archive: []byte("archive"), SoftTEE: []string{self, "play", "tee"},
	}
}

// longDir is longer than a UNIX socket's path may be.
func longDir(t *testing.T) string {
	return filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
}

func run(t *testing.T, role string) *Running {
	t.Helper()
	r, err := open(t, longDir(t)).Start(t.Context(), boot(t, role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestMachineLife(t *testing.T) {
	dir := longDir(t)
	folder := open(t, dir)
	b := boot(t, "good")
	r, err := folder.Start(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.WaitStep(within(t, 10*time.Second), "disk")
	if err != nil || p.Remark != "formatted" {
		t.Errorf("step disk: %+v, %v", p, err)
	}
	if _, err := folder.Start(t.Context(), b); err == nil || !strings.Contains(err.Error(), "in use by") {
		t.Errorf("second start of a running machine: %v", err)
	}
	if err := r.PowerOff(within(t, 10*time.Second)); err != nil {
		t.Errorf("power off: %v", err)
	}
	if _, err := r.WaitText(t.Context(), "never printed"); !errors.Is(err, ErrPoweredOff) {
		t.Errorf("waiting for a line after power-off: %v", err)
	}
	tee := r.SoftTEE()
	r.Close()
	r.Close()
	if tee.Running() {
		t.Error("the soft TEE outlives its machine")
	}
	log, err := os.ReadFile(folder.ConsoleLog())
	if err != nil || !strings.Contains(string(log), "] BdsDxe: loading\n") || !strings.Contains(string(log), "bye") {
		t.Errorf("console log is %q, %v", log, err)
	}
	config, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil || len(config) != 512 || !strings.HasPrefix(string(config), "archive\x00") {
		t.Errorf("config disk has %d bytes, %v", len(config), err)
	}
	// The folder can be used again, by the same machine.
	again, err := open(t, dir).Start(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if again.folder.Instance() != folder.Instance() {
		t.Error("the second run is another machine")
	}
}

func TestGuestHalts(t *testing.T) {
	r := run(t, "good")
	r.Kill()
	if _, err := r.WaitHalt(within(t, 10*time.Second)); err == nil || !strings.Contains(err.Error(), "QEMU ended") {
		t.Errorf("waiting for a halt of a killed machine: %v", err)
	}

	// A guest may be gone before the host has connected to it.
	folder := open(t, longDir(t))
	b := boot(t, "halting")
	r, err := folder.Start(t.Context(), b)
	if err != nil {
		if !strings.Contains(err.Error(), "QEMU ended") {
			t.Fatal(err)
		}
		return
	}
	defer r.Close()
	var halt console.Halt
	if _, err := r.WaitStep(within(t, 10*time.Second), "disk"); !errors.As(err, &halt) || halt.Step != "keys" {
		t.Errorf("waiting for a step of a halting machine: %v", err)
	}
}

func TestPowerOffIsBounded(t *testing.T) {
	r := run(t, "deaf")
	err := r.PowerOff(within(t, 100*time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("power off of a guest that ignores the button: %v", err)
	}
	select {
	case <-r.Done():
	default:
		t.Error("it still runs")
	}
}

func TestStartFailures(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*Boot)
		wantErr string
	}{
		"QEMU fails":     {func(b *Boot) { b.QEMU.Argv[2] = "broken" }, "no such thing"},
		"no QEMU":        {func(b *Boot) { b.QEMU.Argv[0] = "/does/not/exist" }, "start QEMU"},
		"no soft TEE":    {func(b *Boot) { b.SoftTEE = nil }, "no command for the soft TEE"},
		"soft TEE fails": {func(b *Boot) { b.SoftTEE[2] = "broken" }, "soft TEE ended"},
		"no image":       {func(b *Boot) { b.Image = "/does/not/exist" }, "manifest.json"},
		"bad shape":      {func(b *Boot) { b.Shape.CPUs = 0 }, "vCPUs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := longDir(t)
			b := boot(t, "good")
			tc.change(&b)
			r, err := open(t, dir).Start(t.Context(), b)
			if err == nil {
				r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Fatalf("error is %v, want one with %q", err, tc.wantErr)
			}
			lock, err := LockFolder(dir, "test") // nothing is left behind
			if err != nil {
				t.Fatal(err)
			}
			lock.Release()
		})
	}
}

func TestQEMUDiesUnderWay(t *testing.T) {
	r := run(t, "good")
	if _, err := r.WaitStep(within(t, 10*time.Second), "disk"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(r.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(within(t, 10*time.Second)); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("wait gives %v", err)
	}
}

func TestSilent(t *testing.T) {
	for role, want := range map[string]bool{"hung": true, "good": false} {
		r := run(t, role)
		if got := r.Silent(t.Context(), time.Second); got != want {
			t.Errorf("%s: Silent = %v, want %v", role, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if run(t, "hung").Silent(ctx, time.Minute) {
		t.Error("an interrupted wait counts as silence")
	}
}
