//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// diary is what the workload is told and the host must never see.
const diary = "the cat is called Schroedinger and sleeps on the HSM"

// story is what a new user does with a running guestbook.
func (s *session) story(t *testing.T) {
	t.Helper()
	s.write(t, diary)
	if !s.reads(t, diary) {
		t.Error("the guestbook does not list what it was told")
	}
}

func (s *session) address(t *testing.T) string {
	t.Helper()
	if len(s.result.Addresses) == 0 {
		t.Fatal("secretvm up printed no address of the workload")
	}
	return strings.TrimSuffix(s.result.Addresses[0].URL, "/")
}

func (s *session) write(t *testing.T, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": "e2e", "message": text})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.address(t)+"/api/entries", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", s.address(t))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("POST /api/entries: %s", resp.Status)
	}
}

func (s *session) reads(t *testing.T, text string) bool {
	t.Helper()
	resp, err := http.Get(s.address(t) + "/api/entries")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var entries json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&entries); err != nil {
		t.Fatalf("GET /api/entries: %v", err)
	}
	return strings.Contains(string(entries), text)
}

// The whole story: it runs, it keeps its data, and a stranger can check it.
func TestGuestbookRunsIsVerifiedAndKeepsItsData(t *testing.T) {
	l := open(t)

	// The workload's words are not on the disk in the clear.
	disk := filepath.Join(l.result.State, "disk.img")
	if _, err := os.Stat(disk); err != nil {
		t.Fatal(err)
	}
	if contains(t, disk, diary) {
		t.Error("the raw disk image holds what the workload wrote")
	}

	// The image is as small as was promised, hash tree and padding included.
	for _, bound := range []struct {
		file vm.File
		size int64
	}{{l.manifest.Rootfs, 125e6}, {l.manifest.Initramfs, 3e6}} {
		t.Logf("%s has %d bytes", bound.file.Name, bound.file.Size)
		if bound.file.Size > bound.size {
			t.Errorf("%s has %d bytes, want at most %d: what has the image got that nothing needs?", bound.file.Name, bound.file.Size, bound.size)
		}
	}

	// A second up finds the data.
	s := l.up(t)
	if !s.reads(t, diary) {
		t.Error("the second up has lost the entry")
	}
	renewed := false
	for _, step := range s.result.Steps {
		renewed = renewed || step.Name == "disk" && strings.Contains(step.Remark, "given the key of epoch 1")
		t.Logf("%-12s %8s  %s", step.Name, seconds(step.Took), step.Remark)
	}

	// The chain has opened another epoch in between, and the disk moved to it.
	if !renewed {
		t.Error("the disk was not given the key of epoch 1")
	}

	// The line that up prints says VERIFIED.
	code, out, errOut := l.secretvm(t, s.result.Verify[1:]...)
	if code != 0 || !strings.Contains(out, "VERIFIED") || strings.Contains(out, "✗") {
		t.Errorf("the printed verify line ends with %d:\n%s%s", code, out, errOut)
	}
	t.Log(out)

	// The attestation service answers as documented.
	s.checkService(t)

	// What was predicted from the files is what the machine quotes, register by
	// register, and its boot log explains them.
	l.compareWithPrediction(t, s)

	// S1: without the development root it is refused, and the hint names the flag.
	code, out, errOut = l.secretvm(t, without(s.result.Verify[1:], "--trust-root")...)
	if code != 1 || !strings.Contains(out+errOut, "--trust-root") {
		t.Errorf("soft evidence without --trust-root: exit %d, want 1 and a hint:\n%s%s", code, out, errOut)
	}

	// V2: nothing to compare with is not verified.
	code, out, _ = l.secretvm(t, "verify", s.result.Attestation, "--trust-root", after(s.result.Verify, "--trust-root"))
	if code != 3 || !strings.Contains(out, "UNVERIFIED WORKLOAD") {
		t.Errorf("verify without anything to compare: exit %d, want 3:\n%s", code, out)
	}

	// Another compose file is refused.
	other := filepath.Join(t.TempDir(), "docker-compose.yaml")
	if err := os.WriteFile(other, []byte("services: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = l.secretvm(t, replace(s.result.Verify[1:], "--compose", other)...)
	if code != 1 || !strings.Contains(out, "NOT VERIFIED") {
		t.Errorf("verify with another compose file: exit %d, want 1:\n%s", code, out)
	}

	began := time.Now()
	s.down(t)
	t.Logf("Ctrl-C to the end: %s", seconds(time.Since(began)))
	if contains(t, disk, diary) {
		t.Error("the raw disk image holds what the workload wrote")
	}
}

// without drops a flag and its value, replace gives it another, after returns it.
func without(args []string, flag string) (out []string) {
	for i := 0; i < len(args); i++ {
		if args[i] == flag {
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

func replace(args []string, flag, value string) []string {
	return append(without(args, flag), flag, value)
}

func after(args []string, flag string) string {
	for i := range args[:len(args)-1] {
		if args[i] == flag {
			return args[i+1]
		}
	}
	return ""
}
