package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// asKmsd makes the test binary be kmsd: the process that is killed below is a
// real one, without linking the chain a second time.
const asKmsd = "SECRETVM_TEST_AS_KMSD"

func TestMain(m *testing.M) {
	if os.Getenv(asKmsd) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	if os.Getenv(asKeygen) != "" {
		os.Exit(keygen(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// kmsd is a command line of a home.
type kmsd struct {
	t    testing.TB
	home string
	pki  *emulator.PKI
}

func newKmsd(t *testing.T) *kmsd {
	t.Helper()
	k := &kmsd{t: t, home: filepath.Join(t.TempDir(), "kms")}
	var err error
	k.pki, err = emulator.NewPKI(time.Now())
	must(t, err)
	return k
}

func (k *kmsd) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(k.t.Context(), os.Args[0], append(args, "--home", k.home, "--json")...)
	cmd.Env = append(os.Environ(), asKmsd+"=1")
	return cmd
}

// run runs a command to its end and reads its JSON into out.
func (k *kmsd) run(wantCode int, out any, args ...string) (stderr string) {
	k.t.Helper()
	cmd := k.command(args...)
	var outBuf, errBuf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &outBuf, &errBuf
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		k.t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		k.t.Fatalf("kmsd %v: exit code %d, want %d\n%s%s", args, code, wantCode, outBuf.String(), errBuf.String())
	}
	if out != nil {
		if err := json.Unmarshal(outBuf.Bytes(), out); err != nil {
			k.t.Fatalf("kmsd %v: %v in %s", args, err, outBuf.String())
		}
	}
	return errBuf.String()
}

// start runs the node until it is ready.
func (k *kmsd) start() (*exec.Cmd, node.Running) {
	k.t.Helper()
	cmd := k.command("start", "--listen", "127.0.0.1:0", "--idle-interval", "1s")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	must(k.t, err)
	must(k.t, cmd.Start())
	k.t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		k.t.Fatalf("kmsd start ended: %v\n%s", err, stderr.String())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	var r node.Running
	must(k.t, json.Unmarshal([]byte(line), &r))
	return cmd, r
}

var (
	root   = vm.HashOf([]byte("rootfs"))
	launch = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// register registers web with a machine's image, through files and commands.
func (k *kmsd) register(made node.Made) vm.Config {
	k.t.Helper()
	var created, added sent
	k.run(0, &created, "tx", "kms", "create-service", "web")
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: created.Service,
		KMS:        vm.KMS{ChainID: made.ChainID, GroupKey: made.GroupKey.String()},
		InstanceID: strings.Repeat("ab", 16), TLS: "self", Images: "digest", GPU: "none",
	}
	template, err := cfg.Template().Canonical()
	must(k.t, err)
	image := fmt.Sprintf(`{"mrtd": %q, "rtmr0": %q, "rtmr1": %q, "rtmr2": %q, "description": "test", "root_hash": %q, "template": %s}`,
		launch.MRTD, launch.RTMR[0], launch.RTMR[1], launch.RTMR[2], root, template)
	file := filepath.Join(k.t.TempDir(), "image.json")
	must(k.t, os.WriteFile(file, []byte(image), 0o600))
	k.run(0, &added, "tx", "kms", "add-image", "web", "--image", file)
	if created.Service != made.Owner+"/web" || added.Image == nil || *added.Image != 0 || added.Height <= created.Height {
		k.t.Errorf("created %+v, added %+v", created, added)
	}
	var refused vm.Refusal
	k.run(1, &refused, "tx", "kms", "add-image", "web", "--image", file)
	if refused.Code != vm.CodeExists {
		k.t.Errorf("the same image again: %+v, want %s", refused, vm.CodeExists)
	}
	return cfg
}

type quoter struct{ *emulator.Machine }

func (q quoter) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return q.Machine.Quote(reportData)
}

// disk boots a machine against a node, or several behind commas, and returns its
// disk key.
func (k *kmsd) disk(url string, cfg vm.Config) (keys.Secret, *client.Session) {
	k.t.Helper()
	at := launch
	var err error
	at.MRConfigID, err = cfg.ConfigID()
	must(k.t, err)
	events, err := vm.BootEvents(root, cfg)
	must(k.t, err)
	m, err := emulator.New(k.pki, at)
	must(k.t, err)
	for _, e := range events {
		_, err := m.Extend(e.Register, e.Digest)
		must(k.t, err)
	}
	c, err := client.New(strings.Split(url, ","), cfg.KMS)
	must(k.t, err)
	id := keys.Disk(cfg.Service, cfg.InstanceID)
	session, err := c.Release(k.t.Context(), quoter{m}, client.Request{Config: cfg, Events: events, Keys: []keys.ID{id}})
	must(k.t, err)
	key, err := session.Key(id)
	must(k.t, err)
	return key, session
}

// TestSurvivesKill kills the node with SIGKILL again and again, at different
// moments and under load. Group key, services, grants and generations are what
// they were, and the machine gets the same disk key.
func TestSurvivesKill(t *testing.T) {
	k := newKmsd(t)
	rootFile := filepath.Join(t.TempDir(), "dev-root.pem")
	must(t, os.WriteFile(rootFile, k.pki.RootPEM(), 0o600))
	var made node.Made
	if warning := k.run(0, &made, "init", "--chain-id", "kill-1", "--trust-root", rootFile); !strings.Contains(warning, "INSECURE") || !strings.Contains(warning, "WARNING") {
		t.Errorf("init does not shout about the development root: %q", warning)
	}
	started := time.Now()
	process, r := k.start()
	t.Logf("start to first block: %s", time.Since(started))
	cfg := k.register(made)
	key, session := k.disk(r.API, cfg)
	must(t, session.Advance(t.Context(), 1))

	for i := range 5 {
		// Load while the kill comes: owners' transactions, fire and forget.
		var load []*exec.Cmd
		for j := range 2 {
			cmd := k.command("tx", "kms", "create-service", fmt.Sprintf("load-%d-%d", i, j))
			must(t, cmd.Start())
			load = append(load, cmd)
		}
		time.Sleep(time.Duration(i) * 70 * time.Millisecond)
		must(t, process.Process.Kill())
		_ = process.Wait()
		for _, cmd := range load {
			_ = cmd.Wait()
		}
		height := r.Height
		process, r = k.start()
		if r.Height <= height {
			t.Fatalf("after kill %d the chain is at block %d, was at %d", i, r.Height, height)
		}
	}
	again, session := k.disk(r.API, cfg)
	if again != key || session.Grant().Generation != 1 {
		t.Errorf("after the kills: same key %t, generation %d, want the same and 1", again == key, session.Grant().Generation)
	}
	var status wire.Status
	k.run(0, &status, "status")
	if !status.GroupKey.Equal(made.GroupKey) || status.ChainID != "kill-1" || status.Threshold != 1 {
		t.Errorf("status is %+v", status)
	}
	var log wire.Log
	k.run(0, &log, "query", "kms", "log", "web")
	if len(log.Grants) != 2 || len(log.Refusals) != 0 || log.Grants[0].Height <= log.Grants[1].Height {
		t.Errorf("log is %+v, want both grants, newest first", log)
	}

	// Asked to stop, it stops in order.
	stopped := time.Now()
	must(t, process.Process.Signal(syscall.SIGTERM))
	if err := process.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	t.Logf("stop: %s", time.Since(stopped))
}

// TestQueries reads everything there is to read.
func TestQueries(t *testing.T) {
	k := newKmsd(t)
	var made node.Made
	k.run(0, &made, "init")
	var refused vm.Refusal
	k.run(1, &refused, "init")
	if refused.Code != vm.CodeExists {
		t.Errorf("init again: %+v", refused)
	}
	k.run(4, &refused, "status")
	if refused.Code != vm.CodeUnavailable || refused.Hint == "" {
		t.Errorf("before the first start: %+v", refused)
	}
	process, r := k.start()
	k.register(made)
	var services []wire.Service
	k.run(0, &services, "query", "kms", "services")
	var service wire.Service
	k.run(0, &service, "query", "kms", "service", "web")
	if len(services) != 1 || services[0].ID != service.ID || len(service.Images) != 1 || *service.Images[0].MRTD != launch.MRTD || *service.Images[0].RootHash != root {
		t.Errorf("services are %+v, web is %+v", services, service)
	}
	var params wire.Params
	k.run(0, &params, "query", "kms", "params")
	vendors := []string{"CN=Intel SGX Root CA", "CN=ARK-Milan", "CN=ARK-Genoa", "CN=ARK-Turin"}
	known := len(params.TrustRoots) == len(vendors)
	for i := 0; known && i < len(vendors); i++ {
		known = strings.HasPrefix(params.TrustRoots[i].Subject, vendors[i]+",")
	}
	if !known {
		t.Errorf("S1: default trust roots are %+v, want the vendors' production roots alone", params.TrustRoots)
	}
	k.run(1, &refused, "query", "kms", "service", "nothing")
	if refused.Code != vm.CodeNoService {
		t.Errorf("no such service: %+v", refused)
	}
	k.run(1, &refused, "query", "kms", "grant", strings.Repeat("0", 64))
	if r.API == "" {
		t.Error("the ready line names no URL")
	}
	must(t, process.Process.Kill())
	_ = process.Wait()
	k.run(4, &refused, "status") // the endpoint file is there, the node is not
}

func TestExitCodes(t *testing.T) {
	home := t.TempDir()
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"--help"}, 0},
		{nil, 0},
		{[]string{"nonsense"}, exitUsage},
		{[]string{"init", "--nonsense"}, exitUsage},
		{[]string{"init", "too", "many"}, exitUsage},
		{[]string{"query", "kms", "nonsense"}, exitUsage},
		{[]string{"tx", "kms", "create-service"}, exitUsage},
		{[]string{"tx", "kms", "add-image", "web"}, exitUsage},
		{[]string{"start", "--log-level", "loud"}, exitUsage},
		{[]string{"start"}, exitRefused},
		{[]string{"status"}, exitUnreachable},
		{[]string{"status", "--node", "http://127.0.0.1:1"}, exitUnreachable},
		{[]string{"init", "--trust-root", filepath.Join(home, "nothing.pem")}, exitRefused},
		{[]string{"init", "--chain-id", "not good"}, exitRefused},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), append([]string{"--home", home}, tt.args...), &stdout, &stderr); got != tt.want {
			t.Errorf("kmsd %v: exit code %d, want %d: %s", tt.args, got, tt.want, stderr.String())
		}
	}
}

// TestHelpHasExamples: every command that does something shows how.
func TestHelpHasExamples(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || (len(c.Commands()) == 0 && c.Example == "") {
			t.Errorf("%s has no short help or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand(&settings{}))
}

func TestParseImage(t *testing.T) {
	register := strings.Repeat("01", 48)
	base := fmt.Sprintf(`"mrtd":%q,"rtmr0":%q,"rtmr1":%q,"rtmr2":%q`, register, register, register, register)
	for _, tt := range []struct {
		name, json string
		wantErr    string
	}{
		{"good", `{` + base + `,"rtmr3":"` + register + `"}`, ""},
		{"rtmr3 missing", `{` + base + `}`, "rtmr3 is missing"},
		{"unknown field", `{` + base + `,"rtmr4":"` + register + `"}`, "unknown field"},
		{"short register", `{"mrtd":"00"}`, "register has 2 characters"},
		{"trailing bytes", `{` + base + `,"rtmr3":"` + register + `"} x`, "trail"},
		{"root hash alone", `{` + base + `,"root_hash":"` + strings.Repeat("01", 32) + `"}`, "come together"},
		{"template that is none", `{` + base + `,"root_hash":"` + strings.Repeat("01", 32) + `","template":{"version":1}}`, "template"},
		{"template with unknown field", `{` + base + `,"root_hash":"` + strings.Repeat("01", 32) + `","template":{"debug":1}}`, "unknown field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg, err := parseImage([]byte(tt.json))
			if tt.wantErr == "" {
				if err != nil || len(msg.Rtmr3) != 48 {
					t.Fatalf("message is %v, %v", msg, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}

func FuzzParseImage(f *testing.F) {
	f.Add([]byte(`{"mrtd":"00"}`))
	f.Add([]byte(`{"template":{},"root_hash":"` + strings.Repeat("01", 32) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if msg, err := parseImage(b); err == nil && (len(msg.Platforms[0].Mrtd) != 48 || len(msg.Rtmr3) != 48 || (len(msg.RootHash) == 0) != (len(msg.Template) == 0)) {
			t.Fatalf("%q was read as %v", b, msg)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
