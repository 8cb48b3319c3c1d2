package compose

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/vm"
)

var testKMS = vm.KMS{ChainID: "test-1", GroupKey: strings.Repeat("8a", 96)}

const testInstance = "00112233445566778899aabbccddeeff"

var pin = "@sha256:" + strings.Repeat("ab", 32)

var pinnedFile = `
name: Not a service name
x-secretvm:
  service: guestbook
  disk: { size: 4G, integrity: true, ephemeral: false }
  shape: { cpus: 4, memory: 1536M }
  open: [resources, compose]
  tokens: ["2222222222222222222222222222222222222222222222222222222222222222", "1111111111111111111111111111111111111111111111111111111111111111"]
  egress: [registry.example:443]
  images: digest
  gpu: none
  api: { web: [quote, info] }
services:
  web:
    image: localhost:5000/guestbook/web` + pin + `
    volumes: [ "/run/secretvm.sock:/run/secretvm.sock" ]
    ports: ["8080:8080"]
  db:
    image: localhost:5000/guestbook/valkey` + pin + `
volumes: { data: {} }
`

func TestParseSettings(t *testing.T) {
	w, err := Parse([]byte(pinnedFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Service: "guestbook", Disk: Disk{Size: 4 << 30, Integrity: true}, Shape: vm.Shape{CPUs: 4, Memory: 1536 << 20},
		Open: []string{"compose", "resources"}, Egress: []string{"registry.example:443"},
		Tokens: []vm.Hash{vm.Hash(bytes.Repeat([]byte{0x11}, 32)), vm.Hash(bytes.Repeat([]byte{0x22}, 32))}, Images: "digest", GPU: "none",
		API: vm.API{"web": {"info", "quote"}},
	}
	if got := fmt.Sprintf("%+v", w.Settings); got != fmt.Sprintf("%+v", want) {
		t.Errorf("settings are %s, want %+v", got, want)
	}
	cfg, err := w.Config("svm1abc/guestbook", testKMS, testInstance)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ComposeHash != vm.HashOf([]byte(pinnedFile)) || !cfg.Disk.Integrity || !slices.Equal(cfg.Open, want.Open) || !slices.Equal(cfg.Tokens, want.Tokens) || cfg.FilesHash != nil {
		t.Errorf("config is %+v", cfg)
	}
}

func TestDefaultsRunAnyComposeFile(t *testing.T) {
	const public = "services:\n  web:\n    image: nginx:latest\n    ports:\n      - 8080:80\n"
	w, err := Parse([]byte(public), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := w.Settings; s.Images != "tag" || s.Disk.Size != DefaultDiskSize || s.Shape != vm.DefaultShape || s.GPU != "none" || s.Open != nil {
		t.Errorf("settings are %+v", s)
	}
	w, err = Parse([]byte(strings.Replace(public, ":latest", pin, 1)), nil)
	if err != nil || w.Settings.Images != "digest" {
		t.Errorf("pinned file: settings are %+v, error %v", w.Settings, err)
	}
}

func TestParseRefuses(t *testing.T) {
	service := "\nservices: { web: { image: web" + pin + " } }\n"
	ports := func(p string) string { return "services: { web: { image: a, ports: [" + p + "] } }" }
	for _, c := range []struct{ name, file, wantErr string }{
		{"empty", "", "compose file is empty"},
		{"no mapping", "- a", "compose file is not a mapping"},
		{"no services", "name: x", "compose file has no services"},
		{"two documents", service + "---\n" + service, "second document"},
		{"broken", "a: [", "parse compose file"},
		{"key twice", service + "services: {}", `line 3: "services" stands here a second time`},
		{"include", service + "include: [other.yaml]", "include is not supported"},
		{"extends", "services: { web: { image: a, extends: { file: b, service: c } } }", "extends from another file is not supported"},
		{"build only", "services: { web: { build: . } }", "service web: line 1: it has no image"},
		{"misspelt field", "x-secretvm: { disc: {} }" + service, `line 1: x-secretvm has no field "disc": did you mean "disk"?`},
		{"misspelt inner field", "x-secretvm: { disk: { sise: 1G } }" + service, `disk has no field "sise": did you mean "size"?`},
		{"far-off field", "x-secretvm: { colour: red }" + service, `x-secretvm has no field "colour"`},
		{"endpoint", "x-secretvm: { open: [composed] }" + service, `"composed" is not one of compose, logs, metrics, resources, services: did you mean "compose"?`},
		{"images", "x-secretvm: { images: digests }" + service, `did you mean "digest"?`},
		{"gpu", "x-secretvm: { gpu: maybe }" + service, `"maybe" is not one of none, attest`},
		{"size", "x-secretvm: { disk: { size: 4 } }" + service, "want a size such as 512M or 4G"},
		{"size overflow", "x-secretvm: { disk: { size: 999999999T } }" + service, "too large"},
		{"small disk", "x-secretvm: { disk: { size: 1M } }" + service, "want at least 64M"},
		{"shape", "x-secretvm: { shape: { cpus: 0 } }" + service, "0 vCPUs, want 1 to 64"},
		{"bool", "x-secretvm: { disk: { integrity: yes } }" + service, "want true or false"},
		{"token in the clear", "x-secretvm: { tokens: [hunter2] }" + service, "never the token itself"},
		{"W2: socket without a grant", "services: { web: { image: a, volumes: ['/run/secretvm.sock:/run/secretvm.sock'] } }", "service web: it mounts /run/secretvm.sock, and may not ask"},
		{"W2: long form of it", "x-secretvm: {}\nservices: { web: { image: web" + pin + ", volumes: [{ type: bind, source: /run/secretvm.sock, target: /s }] } }", "may not ask"},
		{"grant", "x-secretvm: { api: { web: [quotes] } }" + service, `"quotes" is not one of info, quote, event, sign/ed25519, sign/secp256k1, key/<path>, instance-key/<path>: did you mean "quote"?`},
		{"grant of a path that is none", "x-secretvm: { api: { web: ['key//x'] } }" + service, "is no path of a key"},
		{"no grant", "x-secretvm: { api: { web: [] } }" + service, "want at least one of info, quote, event"},
		{"grants are no list", "x-secretvm: { api: { web: quote } }" + service, "want a list"},
		{"service that is not there", "x-secretvm: { api: { wep: [info] } }" + service, `api has no field "wep": did you mean "web"?`},
		{"name for no socket", "x-secretvm: { api: { _w: [info] } }\nservices: { _w: { image: web" + pin + " } }", `"_w" cannot have an API`},
		{"egress", "x-secretvm: { egress: [example.org] }" + service, "is not host:port"},
		{"service name", "x-secretvm: { service: Guest_Book }" + service, "is not a service name"},
		{"settings are no mapping", "x-secretvm: [a]" + service, "x-secretvm is not a mapping"},
		{"W1: image not pinned", "x-secretvm: {}\nservices: { web: { image: 'web:1' } }", `service web: image "web:1" is not pinned: add @sha256:`},
		{"W1: digest from a variable", "x-secretvm: {}\nservices: { web: { image: 'web${X}" + pin + "' } }", "is not pinned"},
		{"port name", ports("http"), `"http" is not a port number`},
		{"port zero", ports("'0:80'"), `"0" is not a port number`},
		{"protocol", ports("'80:80/sctp'"), "want tcp or udp"},
		{"address", ports("'localhost:80:80'"), "is not an IP address"},
		{"bare IPv6", ports("'::1:80:80'"), "write an IPv6 address in brackets"},
		{"unclosed", ports("'[::1:80:80'"), "unclosed bracket"},
		{"uneven ranges", ports("'80-90:80'"), "differ in length"},
		{"backwards", ports("'90-80:90-80'"), "runs backwards"},
		{"wide range", ports("'1-2000:1-2000'"), "more than 1024 ports"},
		{"port twice", ports("'80:80','80:81'"), "published by web already"},
		{"attestation port", ports("'29343:80'"), "port of the attestation service"},
		{"variable", ports("'${PORT}:80'"), "${PORT} has no value in the machine"},
		{"long form field", ports("{ target: 80, publish: 80 }"), `did you mean "published"?`},
		{"nested port", ports("[80]"), "neither text nor a mapping"},
		{"cycle", "a: &a [*a]" + service, "levels deep"},
		{"alias bomb", bomb() + service, "stands for more than 50000 values"},
		{"deep", "a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + service, "more than 64 levels deep"},
		{"too large", "# " + strings.Repeat("x", configdisk.MaxComposeSize), "want at most 1048576"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.file), nil)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

// bomb is a small document that stands for 10^9 values.
func bomb() string {
	var b strings.Builder
	b.WriteString("x0: &x0 [1,1,1,1,1,1,1,1,1,1]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "x%d: &x%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d,", i-1), 10), ","))
	}
	return b.String()
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want []Port
	}{
		{"80", []Port{{Container: 80}}},
		{"'8080:80'", []Port{{Host: 8080, Container: 80}}},
		{"22:22", []Port{{Host: 22, Container: 22}}},
		{"'127.0.0.1:8080:80/udp'", []Port{{HostIP: "127.0.0.1", Host: 8080, Container: 80, Protocol: "udp"}}},
		{"'[::1]:8080:80'", []Port{{HostIP: "::1", Host: 8080, Container: 80}}},
		{"'127.0.0.1::80'", []Port{{HostIP: "127.0.0.1", Container: 80}}},
		{"'3000-3001:80-81'", []Port{{Host: 3000, Container: 80}, {Host: 3001, Container: 81}}},
		{"'${PORT:-9000}:80'", []Port{{Host: 9000, Container: 80}}},
		{"{ target: 80, published: '8000-8000', host_ip: 127.0.0.1, protocol: tcp, mode: host }", []Port{{HostIP: "127.0.0.1", Host: 8000, Container: 80}}},
		{"{ target: 80 }", []Port{{Container: 80}}},
	} {
		w, err := Parse([]byte("services: { web: { image: a, ports: ["+c.yaml+"] } }"), nil)
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
			continue
		}
		for i := range c.want {
			c.want[i].Service = "web"
			if c.want[i].Protocol == "" {
				c.want[i].Protocol = "tcp"
			}
		}
		if got := w.Ports(); !slices.Equal(got, c.want) {
			t.Errorf("%s: ports are %+v, want %+v", c.yaml, got, c.want)
		}
	}
}

func TestServicesFollowMergesAndProfiles(t *testing.T) {
	w, err := Parse([]byte(`
x-base: &base { image: app, ports: ["80:80"] }
services:
  one: { <<: *base }
  two: { <<: *base, image: other, ports: ["81:81"] }
  debug: { image: tools, profiles: [debug], ports: ["82:82"] }
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range w.Services {
		got = append(got, s.Name+"="+s.Image)
	}
	if s := strings.Join(got, " "); s != "one=app two=other debug=tools" {
		t.Errorf("services are %s", s)
	}
	if p := w.Ports(); len(p) != 2 || p[0].Host != 80 || p[1].Host != 81 {
		t.Errorf("ports are %+v, want 80 and 81", p)
	}
}

func TestRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "My App")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "has none of docker-compose.yaml") {
		t.Errorf("empty folder: error is %v", err)
	}
	raw := []byte("# kept \r\nservices: { web: { image: a } }   \n")
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("compose.yml", raw)
	files := tarOf(t, "app.ini")
	write(configdisk.FilesName, files)
	w, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(w.Compose) != string(raw) || string(w.Files) != string(files) || w.Settings.Service != "my-app" {
		t.Errorf("workload is %+v", w)
	}
	write("compose.yml", make([]byte, configdisk.MaxComposeSize+1))
	if _, err := Read(filepath.Join(dir, "compose.yml")); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("large file: error is %v", err)
	}
	write("compose.yml", nil)
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("empty file: error is %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{pinnedFile, bomb(), "a: &a [*a]", "services: { a: { <<: [{image: b}], ports: [{target: 80}] } }", "x-secretvm:", "? [a]\n: b", "services: &s { a: *s }", secretsFile} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, err := Parse(raw, nil)
		if err != nil {
			return
		}
		if len(w.Services) == 0 || len(w.Services) > maxServices {
			t.Fatalf("%d services", len(w.Services))
		}
		if cfg, err := w.Config("svm1abc/x", testKMS, testInstance); err != nil {
			t.Fatalf("what was accepted makes no config: %v (%+v)", err, cfg)
		}
	})
}

func FuzzPort(f *testing.F) {
	for _, s := range []string{"80", "1.2.3.4:80:80/udp", "[::1]:1-2:3-4", "${A:-1}:2", "$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := Interpolate(s)
		if err != nil {
			return
		}
		ip, host, container, protocol, err := splitShort(text)
		if err != nil {
			return
		}
		ports, err := expand(Port{HostIP: ip, Protocol: protocol}, host, container)
		if err == nil && (len(ports) == 0 || len(ports) > maxPorts) {
			t.Fatalf("%q gives %d ports", s, len(ports))
		}
	})
}
