package workload

import (
	"archive/tar"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

const secretsFile = `
services:
  web:
    image: a
    env_file: [usr/.env, { path: more.env, required: false }]
    secrets: [password, key, { source: token, uid: "0", gid: "0", mode: 0400 }, public, late]
secrets:
  password: { file: ./password.txt }
  key: { external: true }
  token: { environment: TOKEN }
  public: { file: public.txt }
  late: { file: late.txt }
  own: { environment: OWN }
`

// sealedProject is a project of which the owner has sealed all but one secret.
func sealedProject(t *testing.T) (p *Project, folder string) {
	t.Helper()
	run := t.TempDir()
	e := &Engine{folders: Folders{Data: t.TempDir(), Run: run}, note: func(string) {}}
	files := tarOf(t, &tar.Header{Name: "public.txt", Typeflag: tar.TypeReg})
	p, err := e.Project("web", filepath.Join(t.TempDir(), "project"), []byte(secretsFile), files)
	if err != nil {
		t.Fatal(err)
	}
	env := vm.Environment{"TOKEN": "hun\"ter$2\nx", "NOISE": "left out"}
	env.SetSecret("password", []byte("\x00binary"))
	env.SetSecret("key", []byte("key"))
	env.SetSecret("public", []byte("the owner's"))
	env.SetSecret("unheard", []byte("of"))
	set, _ := env.Allowed([]string{"TOKEN", "OWN"})
	folder = filepath.Join(t.TempDir(), "secrets")
	if err := p.Unseal(set, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Secrets([]byte(secretsFile), env, folder); err != nil {
		t.Fatal(err)
	}
	return p, folder
}

// Secrets are files in memory, of the names that the measured file has; what the
// files archive brought is not replaced, which would be code that nobody measured.
func TestB4_SealedFilesAreSecretsOfTheFileOnly(t *testing.T) {
	p, folder := sealedProject(t)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = info.Mode().String() + " " + string(b)
	}
	for name, want := range map[string]string{"password": "-r--r--r-- \x00binary", "key": "-r--r--r-- key", "token": "-r-------- hun\"ter$2\nx"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("secrets are %q", got)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
	b, err := os.ReadFile(filepath.Join(p.Folder, "public.txt"))
	if err != nil || string(b) != "content of public.txt" {
		t.Errorf("the archive's file is %q, %v", b, err)
	}
	for _, name := range []string{"usr/.env", "more.env"} {
		b, err = os.ReadFile(filepath.Join(p.Folder, name))
		if err != nil || string(b) != `TOKEN="hun\"ter\$2\nx"`+"\n" {
			t.Errorf("the file of variables %s is %q, %v", name, b, err)
		}
	}
	for _, arg := range p.command(t.Context(), "up").Args {
		if strings.Contains(arg, "hun") {
			t.Errorf("a secret is among the arguments: %s", arg)
		}
	}
}

// The image's Docker Compose, where this computer has one, understands what it is told.
func TestSecretsReachCompose(t *testing.T) {
	program, err := exec.LookPath("docker-compose")
	if err != nil {
		t.Skip("no docker-compose on this computer")
	}
	p, folder := sealedProject(t)
	cmd := p.command(t.Context(), "config", "--format", "json")
	cmd.Path = program
	cmd.Env = append(cmd.Env, "OWN=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var config struct {
		Services map[string]struct{ Environment map[string]string }
		Secrets  map[string]struct{ File, Environment string }
	}
	if err := json.Unmarshal(out, &config); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"password": filepath.Join(folder, "password"), "key": filepath.Join(folder, "key"), "token": filepath.Join(folder, "token"),
		"late": filepath.Join(folder, "late"), "public": filepath.Join(p.Folder, "public.txt"),
	} {
		if got := config.Secrets[name]; got.File != want || got.Environment != "" {
			t.Errorf("secret %s is %+v, want %s", name, got, want)
		}
	}
	if got := config.Services["web"].Environment["TOKEN"]; got != "hun\"ter$$2\nx" { // config writes $ as $$
		t.Errorf("the container would see TOKEN=%q", got)
	}
}
