package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// kmsdFolder holds the program that builtKmsd made; empty: none.
var kmsdFolder string

// builtKmsd builds kmsd once for all tests: linking it takes long.
var builtKmsd = sync.OnceValues(func() (program string, err error) {
	if kmsdFolder, err = os.MkdirTemp("", "secretvm-test-kmsd-"); err != nil {
		return "", err
	}
	program = filepath.Join(kmsdFolder, "kmsd")
	if out, err := exec.Command("go", "build", "-o", program, "../kmsd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kmsd: %w\n%s", err, out)
	}
	return program, nil
})

// ownerHome runs a chain of one, by the real program, and returns that program,
// the home and the node's URL.
func ownerHome(t *testing.T, init ...string) (program, home, url string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs kmsd")
	}
	program, err := builtKmsd()
	if err != nil {
		t.Fatal(err)
	}
	home = filepath.Join(t.TempDir(), "kms")
	if out, err := exec.CommandContext(t.Context(), program, append([]string{"init", "--home", home, "--chain-id", "owner-1"}, init...)...).CombinedOutput(); err != nil {
		t.Fatalf("kmsd init: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "start", "--home", home, "--listen", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var ready struct {
		API string `json:"api"`
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		t.Fatal(err)
	}
	return program, home, ready.API
}

// TestServiceOwner does with the real key manager what an owner does, from the
// first command to the frozen service.
func TestServiceOwner(t *testing.T) {
	program, home, node := ownerHome(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	do := func(code int, stdin, want string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		got := run(t.Context(), append([]string{"service", "--kmsd", program, "--home", home}, args...), strings.NewReader(stdin), &out, &errs)
		all := out.String() + errs.String()
		if got != code || !strings.Contains(all, want) {
			t.Fatalf("%v: exit code %d, want %d with %q\n%s", args, got, code, want, all)
		}
		if strings.Contains(all, "hunter2") {
			t.Fatalf("%v shows the secret:\n%s", args, all)
		}
		return out.String()
	}
	image := measureFolder(t, func(*vm.Manifest) {})
	one := file("one.yaml", "services: {web: {image: \"r.example/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}\n")
	two := file("two.yaml", "services: {web: {image: \"r.example/web@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}\n# newer\n")
	add := []string{"image", "add", "web", "--image", image, "--shape", "2x2G", "--compose"}

	do(exitOK, "", "/web registered", "create", "web", "--upgrade-delay", "48h")
	do(exitRefused, "", string(vm.CodeExists), "create", "web")
	do(exitRefused, "no\n", "nothing was changed", append(add, one)...)
	do(exitOK, "yes\n", "active       at once", append(add, one)...)
	do(exitOK, "", "active       48h0m0s after", append(add, two, "--yes")...)
	do(exitRefused, "", string(vm.CodeExists), append(add, two, "--yes")...)
	dev := measureFolder(t, func(m *vm.Manifest) { m.Dev, m.CommandLine = true, m.CommandLine+" "+vm.DevArgument })
	forDev := []string{"image", "add", "web", "--image", dev, "--shape", "2x2G", "--compose", one}
	do(exitRefused, "", string(vm.CodeDevImage), append(forDev, "--yes")...)
	do(exitRefused, "no\n", "FOR DEVELOPMENT: base v0", append(forDev, "--dev")...)
	var images []wire.Image
	if err := json.Unmarshal([]byte(do(exitOK, "", "", "image", "list", "web", "--json")), &images); err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 || images[0].State != "active" || images[1].State != "pending" || images[1].ActiveAt.Sub(images[1].Time).Hours() != 48 {
		t.Fatalf("images are %+v", images)
	}

	env := file(".env", "# comment\nexport PASSWORD=\"hunter2\"\n")
	do(exitOK, "", "env sealed", "env", "set", "web", "--env-file", env)
	file("password.txt", "hunter2")
	withSecrets := file("secrets.yaml", "x-secretvm: {images: tag, env: [PASSWORD]}\nservices: {web: {image: a, secrets: [password]}}\nsecrets: {password: {file: ./password.txt}, token: {file: token.txt}}\n")
	do(exitUsage, "", "secret token: "+filepath.Join(dir, "token.txt")+" does not exist (another file: --secret token=FILE)", "env", "set", "web", "--compose", withSecrets)
	do(exitUsage, "", "has no such secret", "env", "set", "web", "--compose", withSecrets, "--secret", "other="+env)
	do(exitUsage, "", "want NAME=FILE", "env", "set", "web", "--secret", "password")
	do(exitRefused, "", "more than", "env", "set", "web", "--secret", "large="+file("large", strings.Repeat("hunter2", 10<<10)))
	do(exitUsage, "", "files count for four thirds", "env", "set", "web", "--secret", "large="+file("large", strings.Repeat("hunter2", 7<<10)))
	do(exitOK, "", "env sealed", "env", "set", "web", "--compose", withSecrets, "--env-file", env, "--secret", "token="+file("other", "hunter2"))
	do(exitOK, "", "registry sealed", "registry", "set", "web", "--docker-config", file("config.json", `{"auths":{"r.example":{"auth":"aHVudGVyMg=="}},"credsStore":"x"}`))
	other := strings.Repeat("ab", 96)
	do(exitUsage, "", "--group-key", "env", "set", "web", "--env-file", env, "--group-key", other)
	do(exitOK, "", "env removed", "env", "set", "web", "--remove")

	do(exitOK, "", "policy set", "policy", "set", "web", "--upgrade-delay", "1h", "--tcb-status", "SWHardeningNeeded")
	do(exitOK, "", "policy from ", "policy", "show", "web")
	do(exitOK, "", "policy set", "policy", "set", "web", "--hardware", "")
	do(exitOK, "", "0 processors", "policy", "show", "web")
	do(exitOK, "", "image 1 revoked", "image", "revoke", "web", "1", "--reason", "@gone")
	do(exitOK, "", ": @gone\n", "show", "web")
	do(exitRefused, "", string(vm.CodeInvalid), "accept-rollback", "web", strings.Repeat("ab", 16), "--yes")
	do(exitRefused, "no\n", "Only they can give it back", "transfer", "web", "svm1x")
	do(exitRefused, "no\n", "no other environment\n(env set is refused", "freeze", "web")
	do(exitOK, "yes\n", "frozen", "freeze", "web")
	do(exitOK, "", "there will never be another image", "show", "web")
	shown := do(exitOK, "", "revoked", "log", "web")
	for _, want := range []string{"create", "add-image", "revoke-image", "freeze", "seal", "policy", "compose "} {
		if !strings.Contains(shown, want) {
			t.Errorf("the log lacks %q:\n%s", want, shown)
		}
	}
	var log struct {
		Entries []logEntry `json:"entries"`
	}
	if err := json.Unmarshal([]byte(do(exitOK, "", "", "log", "web", "--json")), &log); err != nil || len(log.Entries) < 9 {
		t.Errorf("%d entries, %v", len(log.Entries), err)
	}
	do(exitRefused, "", string(vm.CodeNoService), "log", "none")
	do(exitUnreachable, "", "does not answer", "show", "web", "--kms", "http://127.0.0.1:1")
	do(exitUsage, "", "no service id", "show", "a/../b")
	do(exitRefused, "", "frozen", "env", "set", "web", "--env-file", env, "--kms", node)
}

func TestReadEnv(t *testing.T) {
	for _, tt := range []struct{ name, text, want, fails string }{
		{"sorted", "B=2\r\nA=1\n", `{"A":"1","B":"2"}`, ""},
		{"quotes", "A=\"x \\\"y\\\" \\n\"\nB='$x \\n'\nC=a=b#c\nD=\n", `{"A":"x \"y\" \n","B":"$x \\n","C":"a=b#c","D":""}`, ""},
		{"no HTML escape", "A=<&>", `{"A":"<&>"}`, ""},
		{"open quote", "A=\"secret", "", "line 1"},
		{"stray quote", "A=\"sec\"ret\"", "", "line 1"},
		{"twice", "A=secret\nA=secret", "", "line 2: A is set twice"},
		{"no name", "\nsecret", "", "line 2: want NAME=VALUE"},
		{"bytes", "A=secret\xff", "", "line 1"},
		{"empty", "# nothing\n", "", "sets nothing"},
		{"steers the engine", "A=1\nDOCKER_HOST=secret", "", "line 2: env names DOCKER_HOST"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readEnv([]byte(tt.text))
			var want vm.Environment
			if tt.fails == "" {
				if wrong := json.Unmarshal([]byte(tt.want), &want); wrong != nil {
					t.Fatal(wrong)
				}
			}
			if tt.fails == "" && (err != nil || !maps.Equal(got, want)) {
				t.Errorf("got %q, %v, want %s", map[string]string(got), err, tt.want)
			}
			if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error is %v, want %q and no value", err, tt.fails)
			}
		})
	}
}

func TestReadRegistry(t *testing.T) {
	got, err := readRegistry([]byte(`{"credsStore": "desktop", "auths": {"b": {"auth": "eA=="}, "a": {"auth": "eQ=="}}}`))
	if want := `{"auths":{"a":{"auth":"eQ=="},"b":{"auth":"eA=="}}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, text := range []string{"", "{}", `{"auths":{"a":{}}}`} {
		if _, err := readRegistry([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
