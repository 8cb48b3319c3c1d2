package compose

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/configdisk"
)

func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o644, Size: 1, Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "@") {
			h.Size, h.Typeflag, h.Linkname = 0, tar.TypeSymlink, "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			_, _ = w.Write([]byte("x"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

const secretsFile = `
services:
  db:
    image: a
    env_file: usr/.env
    secrets: [password, { source: key, target: k.pem, uid: "70", gid: "71", mode: 0440 }]
  web:
    image: b
    env_file: [{ path: usr/.env }, { path: none.env, required: false }, web.env]
    secrets:
      - { source: key, mode: "0444" }
      - token
secrets:
  password: { file: ./secrets/password.txt }
  key: { external: true }
  token: { environment: TOKEN }
`

func TestFromOutside(t *testing.T) {
	got, err := FromOutside([]byte(secretsFile))
	want := Outside{EnvFiles: []string{"usr/.env", "web.env"}, Optional: []string{"none.env"}, Secrets: []Secret{
		{Name: "password", File: "./secrets/password.txt", Mode: 0o444},
		{Name: "key", Mode: 0o440, UID: 70, GID: 71},
		{Name: "token", Environment: "TOKEN", Mode: 0o444},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for text, wantErr := range map[string]string{
		"secrets: { ../x: { file: x } }": "no name of a secret",
		"secrets: { x: { file: x } }\nservices: { web: { image: a, secrets: [{ source: x, mode: rw }] } }": `secret x: mode "rw" is no number`,
		"secrets: { x: { file: x } }\nservices: { web: { image: a, secrets: [{ source: x, uid: -1 }] } }":  `uid "-1" is no number`,
	} {
		if _, err := FromOutside([]byte(text)); err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: %v, want an error with %q", text, err, wantErr)
		}
	}
}

func TestLocal(t *testing.T) {
	for name, want := range map[string]string{"./a/b": "a/b", "a": "a", ".env": ".env", "a/../b": "b", "": "", ".": "", "..": "", "../a": "", "/a": "", "~/a": "", "a/../../b": ""} {
		if got := Local(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// Variables that hold secrets of the file may be sealed without being named again.
func TestSecretVariables(t *testing.T) {
	w, err := Parse([]byte("x-secretvm: { images: tag, env: [B] }"+secretsFile), nil)
	if err != nil || strings.Join(w.Settings.Env, " ") != "B TOKEN" {
		t.Errorf("may be sealed: %v, %v", w, err)
	}
	if _, err := Parse([]byte(strings.Replace(secretsFile, "environment: TOKEN", "environment: DOCKER_HOST", 1)), nil); err == nil || !strings.Contains(err.Error(), "secret token: env names DOCKER_HOST") {
		t.Errorf("a reserved variable: %v", err)
	}
}

// What a compose file takes from beside it is in the archive, sealed, or missed
// before a machine boots.
func TestBeside(t *testing.T) {
	service := func(text string) string { return "services: { web: { image: a, " + text + " } }\n" }
	for _, tt := range []struct {
		name, file string
		archive    []string
		wantErr    string
		sealable   string
	}{
		{"file of variables that nobody has", service("env_file: .env"), nil, "env_file .env is not in files.tar: seal it", ""},
		{"in the archive", service("env_file: ./usr/.env"), []string{"usr/.env"}, "", ""},
		{"sealed", "x-secretvm: { images: tag, env: [A] }\n" + service("env_file: .env"), nil, "", ""},
		{"elsewhere", "x-secretvm: { images: tag, env: [A] }\n" + service("env_file: /etc/env"), nil, "/etc/env is not in files.tar", ""},
		{"may be missing", service("env_file: [{ path: .env, required: false }]"), nil, "", ""},
		{"interpolated", service("env_file: '${ENV:-.env}'"), nil, "", ""},
		{"file that is mounted", service("volumes: ['./app.ini:/etc/app.ini:ro']"), nil, "service web: it mounts ./app.ini, which lies beside", ""},
		{"the long form", service("volumes: [{ type: bind, source: app.ini, target: /x }]"), nil, "it mounts app.ini", ""},
		{"in the archive too", service("volumes: ['./app.ini:/etc/app.ini:ro']"), []string{"./app.ini"}, "", ""},
		{"a folder of the disk", service("volumes: ['./data:/data', 'app.ini:/not-a-file', './later:/x']"), nil, "it mounts app.ini", ""},
		{"volumes and folders", service("volumes: ['data:/data', './later:/x', '/srv/app.ini:/y', /anonymous]"), nil, "", ""},
		{"config", service("configs: [c]") + "configs: { c: { file: ./app.ini } }", nil, "config c: ./app.ini is not in files.tar", ""},
		{"config in the archive", service("configs: [c]") + "configs: { c: { file: ./app.ini }, d: { content: x } }", []string{"app.ini"}, "", ""},
		{"secrets", service("secrets: [a, b]") + "secrets: { a: { file: ./conf/a }, b: { file: b } }", []string{"conf/a"}, "", "b"},
		{"link", service(""), []string{"app.ini@"}, "tar --dereference", ""},
		{"out of the folder", service(""), []string{"../app.ini"}, "outside of the workload's folder", ""},
		{"twice", service(""), []string{"a", "./a"}, "a second time", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range map[string][]byte{"compose.yaml": []byte(tt.file), "app.ini": []byte("x"), "data/x": []byte("x")} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.archive != nil {
				if err := os.WriteFile(filepath.Join(dir, configdisk.FilesName), tarOf(t, tt.archive...), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w, err := Read(dir)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("%v, want an error with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sealable, err := w.Sealable()
			var names []string
			for _, s := range sealable {
				names = append(names, s.Name)
			}
			if got := strings.Join(names, " "); err != nil || got != tt.sealable {
				t.Errorf("to be sealed: %s, %v, want %s", got, err, tt.sealable)
			}
		})
	}
}
