package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/tee/soft"
	"github.com/secretvm/secretvm/vm"
)

// TestSoftTEECommand runs the command as `up` does: it takes the place of a
// socket that a killed process left, warns, answers, and ends cleanly.
func TestSoftTEECommand(t *testing.T) {
	dir := t.TempDir()
	socket, launch := filepath.Join(dir, "tee.sock"), vm.Measurement{MRTD: vm.Register{7}}
	text, err := json.Marshal(launch)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"launch.json": text, "boot-log.bin": []byte("events")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	var stdout, stderr bytes.Buffer
	go func() {
		done <- run(ctx, []string{
			"soft-tee", "--socket", socket, "--pki", filepath.Join(dir, "pki"), "--measurement", filepath.Join(dir, "launch.json"),
			"--boot-log", filepath.Join(dir, "boot-log.bin"),
		}, strings.NewReader(""), &stdout, &stderr)
	}()
	device := soft.NewDevice(func(context.Context) (soft.Conn, error) { return net.Dial("unix", socket) })
	deadline := time.Now().Add(10 * time.Second)
	found, err := device.Read(ctx)
	for err != nil && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		found, err = device.Read(ctx)
	}
	if err != nil || found != launch {
		t.Errorf("Read = %+v, %v, want %+v", found, err, launch)
	}
	if evidence, err := device.Quote(ctx, [64]byte{}); err != nil || string(evidence.BootLog) != "events" {
		t.Errorf("the quote comes with the boot log %q (%v)", evidence.BootLog, err)
	}
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if !strings.Contains(stderr.String(), "SOFT TEE: real formats, no confidentiality") || stdout.Len() > 0 {
		t.Errorf("stderr %q, stdout %q", stderr.String(), stdout.String())
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestSoftTEELeavesFilesAlone: only a socket is removed to make place.
func TestSoftTEELeavesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	precious, launch := filepath.Join(dir, "precious"), filepath.Join(dir, "launch.json")
	for name, content := range map[string]string{precious: "data", launch: `{}`} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"soft-tee", "--socket", precious, "--pki", filepath.Join(dir, "pki"), "--measurement", launch}, strings.NewReader(""), &out, &out); code == exitOK {
		t.Error("listened on a file")
	}
	if content, _ := os.ReadFile(precious); string(content) != "data" {
		t.Errorf("the file now holds %q", content)
	}
}
