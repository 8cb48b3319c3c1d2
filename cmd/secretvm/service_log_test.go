package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// softMachine is a booted soft TEE.
type softMachine struct{ *emulator.Machine }

func (m softMachine) Quote(_ context.Context, reportData [64]byte) (vm.Evidence, error) {
	return m.Machine.Quote(reportData)
}

// boot starts a machine of an image, which change may make another, and asks the
// node for its disk key. It returns what the key manager says.
func boot(t *testing.T, pki *emulator.PKI, node string, image wire.Image, change func(*vm.Config)) error {
	t.Helper()
	var template bytes.Buffer
	if err := json.Compact(&template, image.Template); err != nil {
		t.Fatal(err)
	}
	cfg, err := vm.ParseConfig(template.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	at := vm.Measurement{MRTD: *image.MRTD, RTMR: [4]vm.Register{*image.RTMR0, *image.RTMR1, *image.RTMR2}}
	if at.MRConfigID, err = cfg.ConfigID(); err != nil {
		t.Fatal(err)
	}
	events, err := vm.BootEvents(*image.RootHash, cfg)
	if err != nil {
		t.Fatal(err)
	}
	m, err := emulator.New(pki, at)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if _, err := m.Extend(e.Register, e.Digest); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New([]string{node}, cfg.KMS)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Release(t.Context(), softMachine{m}, client.Request{Config: cfg, Events: events, Keys: []keys.ID{keys.Disk(cfg.Service, cfg.InstanceID).In(cfg.KMS.Epoch)}})
	return err
}

// shared is a buffer that one goroutine writes and another reads.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestServiceLog has soft machines ask a real key manager for keys: one is
// granted them, others are refused, and the log says so line by line.
func TestServiceLog(t *testing.T) {
	dir := t.TempDir()
	pki, err := emulator.LoadOrCreatePKI(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, pki.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	program, home, node := ownerHome(t, "--trust-root", root)
	do := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"service", "--kmsd", program, "--home", home}, args...), strings.NewReader(""), &out, &errs); code != exitOK {
			t.Fatalf("%v: exit code %d\n%s%s", args, code, out.String(), errs.String())
		}
		return out.String()
	}
	folder := measureFolder(t, func(*vm.Manifest) {})
	for n, delay := range []string{"", "48h", ""} {
		file := filepath.Join(dir, "docker-compose.yaml")
		text := "services: {web: {image: \"r.example/web@sha256:" + strings.Repeat("a", 64) + "\"}}\n" + strings.Repeat("# newer\n", n)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		switch n {
		case 0:
			do("create", "web")
		case 1:
			do("image", "add", "web", "--image", folder, "--shape", "2x2G", "--compose", file, "--description", "a mistake", "--yes")
			do("image", "revoke", "web", "1", "--reason", "@later I saw")
			do("policy", "set", "web", "--upgrade-delay", delay)
			continue
		}
		do("image", "add", "web", "--image", folder, "--shape", "2x2G", "--compose", file, "--yes")
	}
	var images []wire.Image
	if err := json.Unmarshal([]byte(do("image", "list", "web", "--json")), &images); err != nil || len(images) != 3 {
		t.Fatalf("%d images, %v", len(images), err)
	}
	is := func(uid string) func(*vm.Config) {
		return func(c *vm.Config) { c.InstanceID = strings.Repeat(uid, 16) }
	}
	for _, tt := range []struct {
		image  int
		change func(*vm.Config)
		want   vm.Code
	}{
		{0, is("11"), ""},
		{1, is("22"), vm.CodeRetired},
		{2, is("33"), vm.CodePending},
		{2, is("33"), vm.CodePending},
		{0, func(c *vm.Config) { is("44")(c); c.ComposeHash = vm.HashOf([]byte("theirs")) }, vm.CodeCompose},
	} {
		err := boot(t, pki, node, images[tt.image], tt.change)
		if (err == nil) != (tt.want == "") || err != nil && vm.CodeOf(err) != tt.want {
			t.Fatalf("machine of image %d: %v, want %q", tt.image, err, tt.want)
		}
	}
	golden(t, filepath.Join("testdata", "service", "log.txt"), do("log", "web"))

	var all struct {
		Images  []wire.Image `json:"images"`
		Entries []logEntry   `json:"entries"`
	}
	if err := json.Unmarshal([]byte(do("log", "web", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	var granted, refused int
	for _, e := range all.Entries {
		switch e.Kind {
		case "granted":
			granted++
			if len(e.Grant) != 32 || e.Image == nil {
				t.Errorf("grant is %+v", e)
			}
		case "refused":
			refused++
			if e.Hint == "" && e.Code == string(vm.CodePending) || e.Found == "" {
				t.Errorf("refusal is %+v", e)
			}
		}
	}
	if len(all.Images) != 3 || granted != 1 || refused != 3 || len(all.Entries) != 10 {
		t.Errorf("%d images, %d grants, %d refusals, %d entries", len(all.Images), granted, refused, len(all.Entries))
	}
	if newest := do("log", "web", "--limit", "2"); strings.Count(newest, "refused") != 2 || strings.Contains(newest, "granted") {
		t.Errorf("the newest two:\n%s", newest)
	}

	// Following: what was there, then what comes.
	ctx, stop := context.WithCancel(t.Context())
	var out shared
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"service", "--kmsd", program, "--home", home, "log", "web", "--limit", "1", "--follow", "--json"}, strings.NewReader(""), &out, io.Discard)
	}()
	await := func(want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %s follows:\n%s", want, out.String())
			}
		}
	}
	await(string(vm.CodeCompose))
	if err := boot(t, pki, node, images[0], is("55")); err != nil {
		t.Fatal(err)
	}
	await(strings.Repeat("55", 16))
	_ = boot(t, pki, node, images[2], is("33")) // the third time
	await(`"count":3`)
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 3 {
		t.Errorf("%d lines, want 3:\n%s", lines, out.String())
	}
}

// What differs between runs.
var (
	addresses = regexp.MustCompile(`svm1[02-9ac-hj-np-z]{38}`)
	times     = regexp.MustCompile(`20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ`)
)

// golden compares a text with a file, but for addresses and times.
// UPDATE_GOLDEN=1 writes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	got = addresses.ReplaceAllString(got, "OWNER")
	got = times.ReplaceAllString(got, "TIME")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs, got:\n%s", path, got)
	}
}
