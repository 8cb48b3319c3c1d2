package workload

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/vm"
)

const townFile = `services:
  web:
    image: town/web@sha256:1111111111111111111111111111111111111111111111111111111111111111
    secrets: [password]
secrets:
  password: { file: ./password }
`

// measured leaves in a folder what stage 1 would of a compose file, and a file
// beside it.
func measured(t *testing.T, file string, change func(*vm.Config)) string {
	t.Helper()
	var files bytes.Buffer
	archive := tar.NewWriter(&files)
	_ = archive.WriteHeader(&tar.Header{Name: "conf/town.ini", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4})
	_, _ = archive.Write([]byte("town"))
	_ = archive.Close()
	hash := vm.HashOf(files.Bytes())
	folder := t.TempDir()
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte(file)), FilesHash: &hash, Service: "svm1owner/town",
		KMS: vm.KMS{ChainID: "c-1", GroupKey: strings.Repeat("00", 96)}, InstanceID: strings.Repeat("1", 32),
		TLS: "self", Images: "digest", GPU: "none", Env: []string{"TOKEN"},
	}
	if change != nil {
		change(&cfg)
	}
	canonical, err := cfg.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	hints, _ := json.Marshal(configdisk.Hints{})
	for name, content := range map[string][]byte{configdisk.ConfigName: canonical, configdisk.ComposeName: []byte(file), configdisk.FilesName: files.Bytes(), configdisk.HintsName: hints} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// served answers as the process does, and returns what guestd asks with.
func served(t *testing.T, folder string, r *recorder) (*part, *ipc.Client) {
	t.Helper()
	p, err := newPart(t.Context(), folder, r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p, ipc.Dial(path, nil)
}

func ask[Q any](t *testing.T, c *ipc.Client, question string, q Q) error {
	t.Helper()
	_, err := ipc.Ask[Q, struct{}](t.Context(), c, question, q)
	return err
}

// TestW1_PartRefusesTags: the process that runs the workload reads the measured
// file itself, and says that an image in it may change, before anybody asks for keys.
func TestW1_PartRefusesTags(t *testing.T) {
	tagged := "services: {web: {image: \"town/web:1\"}}\n"
	for _, tt := range []struct {
		name, file, images, want string
	}{
		{"by digest", townFile, "digest", ""},
		{"by tag", tagged, "digest", "can change behind its name"},
		{"by tag, as measured", tagged, "tag", ""},
	} {
		_, c := served(t, measured(t, tt.file, func(cfg *vm.Config) { cfg.Images = tt.images }), &recorder{})
		err := ask(t, c, order.Check, struct{}{})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	folder := measured(t, townFile, nil)
	if err := os.WriteFile(filepath.Join(folder, configdisk.ComposeName), []byte(tagged), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newPart(t.Context(), folder, nil); err == nil {
		t.Error("it takes another compose file than the one that was measured")
	}
}

// TestPartLaysOutTheWork: what the owner sealed crosses the socket once, and lies
// where compose finds it; what the config does not name is said, without its value.
func TestPartLaysOutTheWork(t *testing.T) {
	r := &recorder{}
	folder := measured(t, townFile, nil)
	_, before := served(t, folder, r)
	p, c := served(t, folder, r)
	env := vm.Environment{"TOKEN": "of the owner", "OTHER": "hunter2"}
	env.SetSecret("password", []byte("of the town"))
	sealed, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	w := order.Work{Run: run, Data: t.TempDir(), Secrets: filepath.Join(run, "secrets"), Environment: sealed, Sockets: map[string]string{"web": "/run/web.sock"}}
	for _, one := range []*ipc.Client{before, c} { // that is started anew finds what is there
		if err := ask(t, one, order.Prepare, w); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(w.Secrets, "password")); err != nil || string(b) != "of the town" {
		t.Errorf("the secret is %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(p.project.Folder, "conf", "town.ini")); err != nil || string(b) != "town" {
		t.Errorf("the file beside the compose file is %q, %v", b, err)
	}
	cmd := p.project.command(t.Context(), "up")
	if env := strings.Join(cmd.Env, " "); !strings.Contains(env, "TOKEN=of the owner") || strings.Contains(env, "hunter2") || strings.Contains(strings.Join(cmd.Args, " "), "owner") {
		t.Errorf("compose has %q, arguments %q", env, cmd.Args)
	}
	overlay, err := os.ReadFile(filepath.Join(run, "workload-sockets.yaml"))
	if err != nil || !strings.Contains(string(overlay), "/run/web.sock") {
		t.Errorf("sockets: %s, %v", overlay, err)
	}
	news, err := ipc.Ask[order.Seen, order.News](t.Context(), c, order.Tell, order.Seen{})
	if err != nil || len(news.Notes) == 0 || !strings.HasSuffix(news.Notes[0].Text, "does not name them: OTHER") {
		t.Errorf("it says %+v, %v", news.Notes, err)
	}
	if p.work.Environment != nil || p.work.Registry != nil {
		t.Error("it keeps what was sealed")
	}
	for _, q := range []string{order.Services, order.Logs} {
		if list, err := ipc.Ask[order.LogQuery, []json.RawMessage](t.Context(), c, q, order.LogQuery{}); err != nil || len(list) != 0 {
			t.Errorf("%s before there is an engine: %s, %v", q, list, err)
		}
	}
}

// TestPartTriesAgain: an attempt that failed is made three times, which is said;
// after a stop nothing goes on.
func TestPartTriesAgain(t *testing.T) {
	r := &recorder{err: errors.New("exit status 18")}
	p, c := served(t, measured(t, townFile, nil), r)
	run := t.TempDir()
	if err := ask(t, c, order.Prepare, order.Work{Run: run, Data: t.TempDir(), Secrets: filepath.Join(run, "secrets")}); err != nil {
		t.Fatal(err)
	}
	p.risen = make(chan struct{})
	p.failure = errors.New("first")
	close(p.risen)
	start := time.Now()
	_, err := ipc.Ask[struct{}, string](t.Context(), c, order.Up, struct{}{})
	if err == nil || !strings.Contains(err.Error(), "docker compose up: exit status 18") || time.Since(start) < 9*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	news, _ := ipc.Ask[order.Seen, order.News](t.Context(), c, order.Tell, order.Seen{})
	if len(news.Notes) < 2 || news.Notes[0].Text != "attempt 1 of 3: first" || !strings.HasPrefix(news.Notes[1].Text, "attempt 2 of 3: docker compose up") {
		t.Errorf("it says %+v", news.Notes)
	}
	r.err = nil
	if err := ask(t, c, order.Down, order.Patience{Left: time.Minute}); err != nil {
		t.Error(err)
	}
	if p.live.Err() == nil || !strings.Contains(strings.Join(r.cmds[len(r.cmds)-1].Args, " "), " down ") {
		t.Errorf("stopped: %v, last ran %q", p.live.Err(), r.cmds[len(r.cmds)-1].Args)
	}
}

// TestLeftoversEnd: a group's processes are killed and waited for; a machine
// without groups has nothing to end.
func TestLeftoversEnd(t *testing.T) {
	root, run := t.TempDir(), t.TempDir()
	for _, group := range []string{cgroup, engineGroup} {
		folder := filepath.Join(root, group)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{"cgroup.kill": "", "cgroup.procs": "", "cgroup.events": "populated 1\nfrozen 0\n"} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(run, "docker.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := endLeftovers(short, root, run); err == nil || !strings.Contains(err.Error(), "do not end") {
		t.Errorf("processes that stay: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, func() {
		for _, group := range []string{cgroup, engineGroup} {
			_ = os.WriteFile(filepath.Join(root, group, "cgroup.events"), []byte("populated 0\nfrozen 0\n"), 0o600)
		}
	})
	if err := endLeftovers(t.Context(), root, run); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{cgroup, engineGroup} {
		if b, err := os.ReadFile(filepath.Join(root, group, "cgroup.kill")); err != nil || string(b) != "1" {
			t.Errorf("%s: kill is %q, %v", group, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(run, "docker.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket of before is there: %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(root, engineGroup, "cgroup.procs")); string(b) == "" {
		t.Error("it is in no group")
	}
	if err := endGroup(t.Context(), filepath.Join(root, "none")); err != nil {
		t.Errorf("nothing to end: %v", err)
	}
}
