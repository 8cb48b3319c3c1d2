package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/host/machine"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image/oci"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// The test binary plays the programs that up starts, at the level of their
// command lines, answers and sockets; the real ones run in test/e2e.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == "soft-tee":
		playTEE(args)
	case len(args) > 1 && args[0] == "play-qemu":
		if args[1] == "tdx" {
			playTDX(args[2:])
		}
		playNode(args)
		playQEMU(args[1])
	case len(args) > 3 && strings.Join(args[:3], " ") == "service env set":
		env := []byte(args[slices.Index(args, "--compose")+1])
		if i := slices.Index(args, "--env-file"); i > 0 {
			env, _ = os.ReadFile(args[i+1])
		}
		_ = os.WriteFile(filepath.Join(args[slices.Index(args, "--home")+1], "sealed"), env, 0o600)
	case slices.Contains(args, "--home"):
		playKmsd(args)
	default:
		os.Exit(m.Run())
	}
}

// playNode answers where a machine publishes a node of the KMS.
func playNode(args []string) {
	all := strings.Join(args, ",")
	_, host, is := strings.Cut(all, "hostfwd=tcp:127.0.0.1:")
	for ; is; _, host, is = strings.Cut(host, "hostfwd=tcp:127.0.0.1:") {
		if port, guest, _ := strings.Cut(strings.SplitN(host, ",", 2)[0], "-"); strings.HasSuffix(guest, ":29380") {
			go func() {
				_ = http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
			}()
		}
	}
}

func playTEE(args []string) {
	l, err := net.Listen("unix", args[slices.Index(args, "--socket")+1])
	if err != nil {
		os.Exit(1)
	}
	for {
		if _, err := l.Accept(); err != nil {
			return
		}
	}
}

func playQEMU(role string) {
	l, err := net.Listen("unix", qemu.QMPSocket)
	if err != nil {
		os.Exit(1)
	}
	for _, name := range []string{"measure", "network", "keys", "disk", "engine", "workload", "attestation"} {
		if name == "keys" && role == "refused" {
			fmt.Println("secretvm: HALT keys: image-not-allowed: registers match no active image")
			break // and off as soon as the host has connected
		}
		if name == "workload" && role == "ailing" {
			fmt.Println(`secretvm: {"step":"workload","state":"failed","ms":9,"error":"job failed: Exited (3) 2 seconds ago"}`)
			continue
		}
		fmt.Printf("secretvm: {\"step\":%q,\"state\":\"start\"}\nsecretvm: {\"step\":%q,\"state\":\"ok\",\"ms\":7,\"remark\":\"did %s\"}\n", name, name, name)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			fmt.Fprintln(conn, `{"QMP":{}}`)
			for in := bufio.NewScanner(conn); in.Scan(); {
				fmt.Fprintln(conn, `{"return":{}}`)
				if role == "refused" || strings.Contains(in.Text(), "system_powerdown") {
					os.Exit(0)
				}
			}
		}()
	}
}

// playTDX keeps what the emulator was told, and asks for keys as a machine would,
// with a real quote.
func playTDX(args []string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fail(os.WriteFile("played", []byte(strings.Join(args, "\n")), 0o600))
	disk, err := os.Open("config.img")
	fail(err)
	archive, err := configdisk.ReadArchive(disk)
	fail(err)
	quote, err := os.ReadFile(os.Getenv("PLAY_QUOTE"))
	fail(err)
	body, err := json.Marshal(wire.Release{Evidence: vm.Evidence{TEE: vm.TDX, Quote: quote}})
	fail(err)
	kms := strings.Replace(archive.Hints.KMS[0], guestGateway, "127.0.0.1", 1)
	resp, err := http.Post(kms+wire.PathRelease, "application/json", bytes.NewReader(body))
	fail(err)
	fail(resp.Body.Close())
}

// playKmsd answers as kmsd does; what it has been told lies in its home.
func playKmsd(args []string) {
	home := args[slices.Index(args, "--home")+1]
	answer := func(v any) { _ = json.NewEncoder(os.Stdout).Encode(v) }
	refuse := func(code vm.Code) {
		answer(vm.Refuse(code, "the chain said so"))
		os.Exit(1)
	}
	exists := func(name string) bool { _, err := os.Stat(filepath.Join(home, name)); return err == nil }
	write := func(name string, content []byte) { _ = os.WriteFile(filepath.Join(home, name), content, 0o600) }
	switch strings.Join(args[:min(3, len(args))], " ") {
	case "init --trust-root " + args[2]:
		if exists("config/genesis.json") {
			refuse(vm.CodeExists)
		}
		_ = os.MkdirAll(filepath.Join(home, "config"), 0o700)
		write("config/genesis.json", []byte("{}"))
		write("trusted", nil)
		answer(map[string]string{})
	case "init --home " + home: // with Intel's root alone
		_ = os.MkdirAll(filepath.Join(home, "config"), 0o700)
		write("config/genesis.json", []byte("{}"))
		answer(map[string]string{})
	case "testnet --nodes 4", "testnet --nodes 1":
		dir := args[slices.Index(args, "--dir")+1]
		var made kmsFounders
		count, _ := strconv.Atoi(args[2])
		for i := range count {
			node := filepath.Join(dir, fmt.Sprintf("node%d", i+1))
			_ = os.MkdirAll(node, 0o700)
			_ = os.WriteFile(filepath.Join(node, "trusted"), nil, 0o600)
			made.Homes = append(made.Homes, struct {
				API string `json:"api"`
			}{fmt.Sprintf("http://127.0.0.1:%d", 29380+2*i)})
		}
		text, _ := json.Marshal(made)
		_ = os.WriteFile(filepath.Join(dir, "testnet.json"), text, 0o600)
		answer(made)
	case "start --home " + home:
		if exists("../founder") {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"chain_id": "test-1"}`+"\n") }))
			defer s.Close()
			write("api", []byte(s.URL))
		}
		api := "http://127.0.0.1:29380"
		if i, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(home), "node")); err == nil {
			api = fmt.Sprintf("http://127.0.0.1:%d", 29380+2*(i-1))
		}
		if !exists("trusted") {
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				write("posted", body)
			}))
			defer s.Close()
			api = s.URL
		}
		if text, err := os.ReadFile(filepath.Join(home, "api")); err == nil {
			api = string(text)
		}
		if exists("broken") {
			fmt.Fprintln(os.Stderr, "panic: the database is damaged")
			os.Exit(2)
		}
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		if exists("slow") {
			<-c
			return
		}
		fmt.Println("some other line")
		answer(kmsReady{true, api, "test-1", 3})
		<-c
		write("stopped", nil)
	case "status --home " + home, "status --node " + args[2]:
		nodes := []any{1}
		if filepath.Base(home) == "node1" && !exists("../founder") {
			nodes = []any{1, 2, 3, 4}
		}
		if exists("holders") {
			text, _ := os.ReadFile(filepath.Join(home, "holders"))
			nodes = []any{map[string]any{"index": 1}}
			for i, api := range strings.Fields(string(text)) {
				nodes = append(nodes, map[string]any{"index": i + 2, "api": api})
			}
		}
		answer(map[string]any{"chain_id": "test-1", "group_key": strings.Repeat("8a", 96), "threshold": 1, "nodes": nodes, "height": 3})
	case "query kms service":
		if !exists("service") {
			refuse(vm.CodeNoService)
		}
		s := chainService{ID: "svm1owner/" + args[3]}
		if text, err := os.ReadFile(filepath.Join(home, "image")); err == nil {
			var i chainImage
			_ = json.Unmarshal(text, &i)
			s.Images = append(s.Images, i)
		}
		answer(s)
	case "query committee params":
		params := map[string]any{"phase_blocks": "20", "unattested_nodes": true}
		if exists("params") {
			text, _ := os.ReadFile(filepath.Join(home, "params"))
			_ = json.Unmarshal(text, &params)
		}
		answer(map[string]any{"params": params})
	case "tx committee update-params":
		write("params", []byte(args[slices.Index(args, "--params")+1]))
		answer(map[string]string{})
	case "tx committee admit":
		text, _ := os.ReadFile(filepath.Join(home, "holders"))
		write("holders", append(text, args[3]+"\n"...))
		answer(map[string]string{})
	case "tx committee leave":
		text, _ := os.ReadFile(filepath.Join(home, "left"))
		write("left", append(text, args[slices.Index(args, "--index")+1]+"\n"...))
		if len(strings.Fields(string(text))) == 1 { // both have
			write("holders", nil)
		}
		answer(map[string]string{})
	case "query kms log":
		answer(map[string]any{"service": args[3], "refusals": []any{
			map[string]any{"height": 8, "instance_id": "another machine", "code": "stale", "reason": "not ours"},
			map[string]any{"height": 7, "instance_id": os.Getenv("PLAY_INSTANCE"), "code": "image-not-allowed", "field": "rtmr1", "found": "aa", "wanted": "bb", "reason": "no active image\x1b[2J", "hint": "add the image"},
		}})
	case "tx kms create-service":
		write("service", nil)
		answer(map[string]string{"service": "svm1owner/" + args[3]})
	case "tx kms add-image":
		text, _ := os.ReadFile(args[slices.Index(args, "--image")+1])
		write("image", text)
		answer(map[string]string{})
	default:
		fmt.Fprintln(os.Stderr, "unknown command", args)
		os.Exit(2)
	}
}

// names collects the names of finished steps.
type names struct{ done, failed []string }

func (n *names) Started(string) {}
func (n *names) Finished(r step.Result) {
	n.done = append(n.done, r.Name)
	if r.Error != "" {
		n.failed = append(n.failed, r.Name)
	}
}

// installation has everything but an image whose firmware could be predicted.
func installation(t *testing.T, state, role string) *Installation {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, err := compose.Parse([]byte("x-secretvm: { service: guestbook }\nservices:\n  web: { image: \"localhost:5000/web@sha256:"+strings.Repeat("ab", 32)+"\" }\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Path = "compose file.yaml"
	o := Options{
		Workload: w, State: state, TEE: vm.Soft, Timeout: 20 * time.Second, Grace: 10 * time.Second, Note: quiet,
		Ports: map[int]int{vm.AttestationPort: 0}, Kmsd: self, SecretVM: self, Command: "bin/secretvm",
		Containers: func(context.Context, string, Note) (*oci.Store, error) { return nil, nil },
		TrustRoot:  func(dir string) (string, error) { return filepath.Join(dir, "dev-root.pem"), nil },
	}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	in := &Installation{o: o, reports: &collector{to: &names{}}, kms: &kms{program: self, folder: filepath.Join(o.State, "kms")}}
	in.emulator = qemu.Binary{Argv: []string{self, "play-qemu", role}}
	in.image = Image{Folder: t.TempDir(), Prediction: vm.Prediction{Shape: o.Shape}}
	file := vm.File{Name: "x", Size: 1, SHA256: vm.HashOf([]byte("x"))}
	in.image.Manifest = vm.Manifest{Version: 1, Name: "base", Release: "v0", Firmware: file, Kernel: file, Initramfs: file, Rootfs: file}
	in.image.Manifest.Verity.RootHash = vm.HashOf([]byte("root"))
	text, err := in.image.Manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.image.Folder, vm.ManifestName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return in
}

// startWithoutImage runs Up's steps but the first, which needs a real firmware.
func (in *Installation) startWithoutImage(ctx context.Context) error {
	if err := in.prepare(); err != nil {
		return err
	}
	return in.start(ctx, in.surroundings()[1:])
}

func TestUpAndDownTwice(t *testing.T) {
	state := t.TempDir()
	var first Result
	for round := range 2 {
		in := installation(t, state, "good")
		if err := in.startWithoutImage(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := installation(t, state, "good")
		if err := second.startWithoutImage(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by process") {
			t.Errorf("a second up of one state folder: %v", err)
		}
		r := in.Result()
		if round == 0 {
			first = r
		}
		if r.Service != "svm1owner/guestbook" || r.Instance != first.Instance || len(r.Steps) != len(in.surroundings())+len(in.life())-1 {
			t.Errorf("round %d: result is %+v", round, r)
		}
		var text strings.Builder
		if _, err := r.WriteTo(&text); err != nil || !strings.Contains(text.String(), "bin/secretvm verify https://127.0.0.1:") || !strings.Contains(text.String(), "'compose file.yaml'") {
			t.Errorf("printed %s, %v", text.String(), err)
		}
		// No manifest predicts this machine but the one that was made for it.
		own := filepath.Join(in.folder.Dir(), vm.ManifestName)
		beside, err := os.ReadFile(own)
		if err != nil || !slices.Contains(r.Verify, own) || !strings.Contains(text.String(), "does not predict "+in.o.Shape.String()) {
			t.Errorf("the verify line is %q, %v", r.Verify, err)
		}
		if m, err := vm.ParseManifest(beside); err != nil || len(m.Predictions) != 1 || m.Predictions[0] != in.image.Prediction {
			t.Errorf("the machine's manifest predicts %+v, %v", m.Predictions, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := in.Wait(ctx); err != nil {
			t.Errorf("wait: %v", err)
		}
		cancel()
		var stopped names
		if err := in.Down(t.Context(), &stopped); err != nil || !slices.Equal(stopped.done, []string{"power off", "kms"}) {
			t.Errorf("down: %v, %v", stopped, err)
		}
		if _, err := os.Stat(filepath.Join(in.kms.folder, "stopped")); err != nil {
			t.Errorf("kmsd was not stopped in order: %v", err)
		}
	}
}

func TestRefusedKeysNameTheRecord(t *testing.T) {
	state := t.TempDir()
	folder, err := machine.Open(filepath.Join(state, "machines", "guestbook"), compose.DefaultDiskSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLAY_INSTANCE", folder.Instance())
	in := installation(t, state, "refused")
	err = in.startWithoutImage(t.Context())
	if err == nil {
		t.Fatal("a machine that was refused its keys is up")
	}
	for _, want := range []string{
		"keys: the guest halted at keys: image-not-allowed", "on the chain, height 7: no active image: rtmr1 is aa, want bb [image-not-allowed]\n",
		"try: add the image", "query kms log svm1owner/guestbook --home",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
	if r := in.reports.results(); r[len(r)-1].Remark != "image-not-allowed: registers match no active image" {
		t.Errorf("the step's line says %q", r[len(r)-1].Remark)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Errorf("down: %v", err)
	}
}

// A machine whose workload fails runs on, and its owner is told why.
func TestFailedWorkloadIsShown(t *testing.T) {
	in := installation(t, t.TempDir(), "ailing")
	if err := in.startWithoutImage(t.Context()); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r := in.Result()
	if _, err := r.WriteTo(&text); err != nil || r.Failure != "workload: job failed: Exited (3) 2 seconds ago" || !strings.Contains(text.String(), "Exited (3)") || in.Failure() == nil {
		t.Errorf("result is %+v, %v, printed as\n%s", r, err, &text)
	}
	if last := r.Steps[len(r.Steps)-1]; last.Name != "workload" || last.Error == "" {
		t.Errorf("the last step is %+v", last)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := in.Wait(ctx); err != nil {
		t.Errorf("the machine ended: %v", err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Errorf("down: %v", err)
	}
}

func TestBrokenKMSShowsItsLog(t *testing.T) {
	in := installation(t, t.TempDir(), "good")
	if err := os.MkdirAll(in.kms.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in.kms.folder, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := in.startWithoutImage(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the database is damaged") {
		t.Errorf("error is %v", err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Errorf("down: %v", err)
	}
}

func TestWaitEndsWhenAPartDies(t *testing.T) {
	in := installation(t, t.TempDir(), "good")
	if err := in.startWithoutImage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(in.run.SoftTEE().PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "soft TEE ended") {
		t.Errorf("wait: %v", err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Errorf("down: %v", err)
	}
}

func TestInterruptedBootIsStopped(t *testing.T) {
	in := installation(t, t.TempDir(), "good")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.startWithoutImage(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Errorf("down: %v", err)
	}
}
