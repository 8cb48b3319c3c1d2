//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/machine"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// host is a dishonest host: it has everything that an honest one has, and the
// chain runs.
type host struct {
	*lab
	workload *compose.Workload
	config   vm.Config // what the owner registered, for this instance
	launch   vm.Prediction
	kms      string // the node's URL as the guest sees it
	emulator qemu.Binary
	folder   *machine.Folder
}

// newHost starts the chain of the lab and opens a machine: the guestbook's own
// with its disk, or, with another name, a fresh one.
func newHost(t *testing.T, name string) *host {
	t.Helper()
	l := open(t)
	h := &host{lab: l}
	h.startChain(t)
	var err error
	if h.emulator, err = (local.Locked{}).QEMU(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	if h.folder, err = machine.Open(filepath.Join(l.state, "machines", name), 1<<30); err != nil {
		t.Fatal(err)
	}
	if h.workload, err = compose.Read(filepath.Join(l.repository, "examples", "guestbook")); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := l.run(t, "kmsd", "status", "--home", filepath.Join(l.state, "kms"), "--json")
	var status struct {
		ChainID  string `json:"chain_id"`
		GroupKey string `json:"group_key"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatalf("kmsd status: exit %d, %v: %s", code, err, errOut)
	}
	h.config, err = h.workload.Config(l.result.Service, vm.KMS{ChainID: status.ChainID, GroupKey: status.GroupKey}, h.folder.Instance())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range l.manifest.Predictions {
		if p.Shape == vm.DefaultShape {
			h.launch = p
		}
	}
	if h.launch.MRTD.IsZero() {
		t.Fatalf("the manifest predicts nothing for %+v", vm.DefaultShape)
	}
	return h
}

// startChain runs kmsd on the lab's home for the rest of the test.
func (h *host) startChain(t *testing.T) {
	t.Helper()
	cmd := exec.Command(filepath.Join(h.repository, "bin", "kmsd"), "start", "--home", filepath.Join(h.state, "kms"), "--listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	var ready struct{ API string }
	if err := json.NewDecoder(stdout).Decode(&ready); err != nil {
		t.Fatalf("kmsd start: %v\n%s", err, &stderr)
	}
	go io.Copy(io.Discard, stdout)
	h.kms = strings.Replace(ready.API, "127.0.0.1", "10.0.2.2", 1)
}

// archive is the honest config archive for a config.
func (h *host) archive(t *testing.T, cfg vm.Config, composeFile []byte) []byte {
	t.Helper()
	canonical, err := cfg.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := configdisk.Archive{Config: canonical, Compose: composeFile, Hints: configdisk.Hints{KMS: []string{h.kms}}}
	if err := configdisk.Write(&out, a); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// boot is what an honest host would start; attacks change a field of it.
func (h *host) boot(t *testing.T) machine.Boot {
	t.Helper()
	return machine.Boot{
		Name: "attack", QEMU: h.emulator, TEE: vm.Soft, Shape: vm.DefaultShape, Image: h.image,
		Archive: h.archive(t, h.config, h.workload.Compose), Measurement: h.measured(t, h.config),
		SoftTEE: []string{filepath.Join(h.repository, "bin", "secretvm"), "soft-tee", "--pki", filepath.Join(h.state, "pki")},
	}
}

// measured is what the hardware would measure at a launch under cfg.
func (h *host) measured(t *testing.T, cfg vm.Config) vm.Measurement {
	t.Helper()
	id, err := cfg.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	return vm.Measurement{MRTD: h.launch.MRTD, RTMR: [4]vm.Register{h.launch.RTMR0, h.launch.RTMR1, h.launch.RTMR2}, MRConfigID: id}
}

// start starts b; once more where the emulator hangs before the guest's first word.
func (h *host) start(ctx context.Context, t *testing.T, b machine.Boot) *machine.Running {
	t.Helper()
	for range 3 {
		run, err := h.folder.Start(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		if !run.Silent(ctx, local.Silence) {
			return run
		}
		run.Close()
		t.Log("the emulator hung; the machine is started again")
	}
	t.Fatal("the emulator hung three times")
	return nil
}

// halts boots b and returns the guest's reason for powering off. A kernel that
// the emulator has crashed gave no reason, and is booted again.
func (h *host) halts(t *testing.T, b machine.Boot) console.Halt {
	t.Helper()
	for range 3 {
		if halt, crashed := h.halt(t, b); !crashed {
			return halt
		}
	}
	t.Fatal("the emulator crashed the guest's kernel three times")
	return console.Halt{}
}

func (h *host) halt(t *testing.T, b machine.Boot) (_ console.Halt, crashed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	run := h.start(ctx, t, b)
	defer run.Close()
	halt, err := run.WaitHalt(ctx)
	if err != nil {
		t.Fatalf("the machine did not halt: %v\n%s", err, run.Report(40))
	}
	if err := run.Wait(ctx); err != nil {
		t.Errorf("after its halt: %v", err)
	}
	t.Logf("halted after %s: %s: %s", seconds(time.Since(run.Started())), halt.Step, halt.Reason)
	return halt, local.BreakpointCrash(run.Console().Tail(400))
}

// want fails the test unless the guest halted at step for a reason with all words.
func want(t *testing.T, halt console.Halt, step string, words ...string) {
	t.Helper()
	if halt.Step != step {
		t.Errorf("halted at %s (%s), want %s", halt.Step, halt.Reason, step)
	}
	for _, word := range words {
		if !strings.Contains(halt.Reason, word) {
			t.Errorf("the reason %q does not say %q", halt.Reason, word)
		}
	}
}

// B1: every block of the root file system is changed after it was measured, so
// that whichever is read first shows it.
func TestB1_ChangedRootfsDoesNotRun(t *testing.T) {
	h := newHost(t, "b1")
	h.neverRuns(t, h.changedFrom(t, 0))
}

// B1: the file system's first blocks stay as they are, so that it mounts; the
// files in it are not what was measured.
func TestB1_ChangedFilesDoNotRun(t *testing.T) {
	h := newHost(t, "b1")
	h.neverRuns(t, h.changedFrom(t, 16))
}

// changedFrom is a boot with one bit changed in each data block of the root
// file system, from the given block on.
func (h *host) changedFrom(t *testing.T, first int64) machine.Boot {
	t.Helper()
	rootfs, err := os.ReadFile(filepath.Join(h.image, h.manifest.Rootfs.Name))
	if err != nil {
		t.Fatal(err)
	}
	for block := first; block < h.manifest.Verity.DataBlocks; block++ {
		rootfs[block*4096+1024] ^= 1
	}
	b := h.boot(t)
	b.Rootfs = filepath.Join(t.TempDir(), "rootfs.img")
	if err := os.WriteFile(b.Rootfs, rootfs, 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// neverRuns boots b and expects it to end before it asks for keys.
func (h *host) neverRuns(t *testing.T, b machine.Boot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	run := h.start(ctx, t, b)
	defer run.Close()
	if p, err := run.WaitStep(ctx, "keys"); err == nil {
		t.Fatalf("a machine with changed bytes got keys: %+v", p)
	}
	run.Wait(ctx) // QEMU's exit status differs between a panic and a power-off
	if ctx.Err() != nil {
		t.Fatalf("the machine neither ran nor ended:\n%s", run.Report(40))
	}
	console := strings.Join(run.Console().Tail(200), "\n")
	if !strings.Contains(console, "verity") {
		t.Errorf("the console does not say why:\n%s", console)
	}
}

// B2: the host gives other bytes than the config names.
func TestB2_ChangedComposeHaltsTheGuest(t *testing.T) {
	h := newHost(t, "b2")
	b := h.boot(t)
	b.Archive = h.archive(t, h.config, append(bytes.Clone(h.workload.Compose), "# and a miner\n"...))
	want(t, h.halts(t, b), "measure", string(vm.CodeCompose))
}

// B2: the host changes the compose file and everything that follows from it,
// and launches honestly. The machine is then another one: no key.
func TestB2_ChangedComposeGetsNoKey(t *testing.T) {
	h := newHost(t, "b2")
	changed := append(bytes.Clone(h.workload.Compose), "# and a miner\n"...)
	cfg := h.config
	cfg.ComposeHash = vm.HashOf(changed)
	h.getsNoKey(t, cfg, changed, vm.CodeCompose)
}

// B4: the same with a setting: logs opened to strangers.
func TestB4_ChangedConfigGetsNoKey(t *testing.T) {
	h := newHost(t, "b4")
	cfg := h.config
	cfg.Open = []string{"compose", "logs", "resources", "services"}
	h.getsNoKey(t, cfg, h.workload.Compose, vm.CodeConfig)
}

// getsNoKey boots a workload that nobody registered, and looks for the reason
// where the host sees it and where the owner does.
func (h *host) getsNoKey(t *testing.T, cfg vm.Config, composeFile []byte, refusal vm.Code) {
	t.Helper()
	b := h.boot(t)
	b.Archive, b.Measurement = h.archive(t, cfg, composeFile), h.measured(t, cfg)
	before := digest(t, h.folder.Disk())
	want(t, h.halts(t, b), "keys", string(refusal))
	if digest(t, h.folder.Disk()) != before {
		t.Error("the disk was touched without a key")
	}
	code, out, errOut := h.run(t, "kmsd", "query", "kms", "log", h.result.Service, "--home", filepath.Join(h.state, "kms"), "--json")
	var log struct {
		Refusals []struct {
			Instance string  `json:"instance_id"`
			Code     vm.Code `json:"code"`
			Reason   string  `json:"reason"`
		} `json:"refusals"`
	}
	if err := json.Unmarshal([]byte(out), &log); err != nil {
		t.Fatalf("kmsd query kms log: exit %d, %v: %s", code, err, errOut)
	}
	if len(log.Refusals) == 0 || log.Refusals[0].Code != refusal || log.Refusals[0].Instance != cfg.InstanceID {
		t.Fatalf("the chain's newest refusal is %+v, want %s for instance %s", log.Refusals, refusal, cfg.InstanceID)
	}
}

// B4: the host hands the guest another config than the launch was bound to.
func TestB4_ConfigThatWasNotLaunchedHaltsTheGuest(t *testing.T) {
	h := newHost(t, "b4")
	cfg := h.config
	cfg.InstanceID = strings.Repeat("ab", 16)
	b := h.boot(t)
	b.Archive = h.archive(t, cfg, h.workload.Compose) // but measured as h.config
	want(t, h.halts(t, b), "measure", string(vm.CodeConfig))
}

// B3: no compose file, and nothing at all.
func TestB3_MissingComposeHaltsTheGuest(t *testing.T) {
	h := newHost(t, "b3")
	canonical, err := h.config.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	var missing bytes.Buffer
	w := tar.NewWriter(&missing)
	if err := w.WriteHeader(&tar.Header{Name: configdisk.ConfigName, Size: int64(len(canonical)), Mode: 0o444, Format: tar.FormatUSTAR}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(canonical); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		archive []byte
		word    string
	}{
		{"no compose file", missing.Bytes(), configdisk.ComposeName},
		{"zeros", make([]byte, 4096), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := h.boot(t)
			b.Archive = tt.archive
			want(t, h.halts(t, b), "measure", tt.word)
		})
	}
}
