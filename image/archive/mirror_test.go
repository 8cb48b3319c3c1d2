package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// etc makes a folder like /etc/apt with the given files.
func etc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindMirrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   map[string]string
		env     string
		extra   []string
		want    string
		wantErr string
	}{
		{name: "one-line style", files: map[string]string{"sources.list": `# deb http://no.example/debian trixie main
deb http://a.example/debian bookworm main contrib # the archive
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian-security/ bookworm-security main
deb-src http://src.example/debian bookworm main
debug http://no.example/debian x main
deb cdrom:[Debian]/ bookworm main
`}, want: "debian=[http://a.example/debian] debian-security=[http://a.example/debian-security]"},
		{name: "deb822 style", files: map[string]string{"sources.list.d/debian.sources": `Types: deb deb-src
URIs: https://b.example/mirror/debian/
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp

Types: deb
URIs: https://b.example/security
Suites: trixie-security
`}, want: "debian=[https://b.example/mirror/debian] debian-security=[https://b.example/security]"},
		{
			name: "disabled", files: map[string]string{"sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://c.example/debian\nSuites: trixie\n"},
			want: "debian=[] debian-security=[]",
		},
		{
			name: "somebody else's", files: map[string]string{
				"sources.list.d/x.sources": "Types: deb\nURIs: https://x.example/linux/debian\nSuites: trixie\nSigned-By: /etc/apt/keyrings/x.asc\n",
				"sources.list.d/y.list":    "deb [signed-by=/etc/apt/keyrings/y.gpg] https://y.example/debian trixie main\ndeb https://z.example/apt z main\n",
			},
			want: "debian=[] debian-security=[]",
		},
		{
			name: "extra first", files: map[string]string{"sources.list": "deb http://a.example/debian trixie main\n"}, extra: []string{"debian=http://mine.example/debian/"},
			want: "debian=[http://mine.example/debian http://a.example/debian] debian-security=[]",
		},
		{
			name: "environment replaces", files: map[string]string{"sources.list": "deb http://a.example/debian trixie main\n"},
			env:  "debian=http://e.example/debian, debian-security=http://e.example/sec",
			want: "debian=[http://e.example/debian] debian-security=[http://e.example/sec]",
		},
		{name: "not HTTP", extra: []string{"debian=ftp://a.example/debian"}, wantErr: "want debian=http"},
		{name: "no archive", extra: []string{"ubuntu=http://a.example/"}, wantErr: "want debian=http"},
		{name: "no URL", extra: []string{"debian"}, wantErr: "want debian=http"},
		{name: "no apt at all", want: "debian=[] debian-security=[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := FindMirrors(c.extra, c.env, etc(t, c.files))
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error is %v, want one about %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("debian=%v debian-security=%v", m[Debian], m[Security]); got != c.want {
				t.Errorf("mirrors are %s, want %s", got, c.want)
			}
		})
	}
}

func TestMirrorFileIsRead(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "debian.list")
	if err := os.WriteFile(list, []byte("# mine\nhttp://listed.example/debian\tpriority:1\nfile:/srv/debian\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := FindMirrors(nil, "", etc(t, map[string]string{"sources.list.d/a.sources": "Types: deb\nURIs: mirror+file:" + list + "\nSuites: trixie\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(m[Debian]); got != "[http://listed.example/debian]" {
		t.Errorf("mirrors are %s", got)
	}
}

func TestNoMirrorNamesTheRemedy(t *testing.T) {
	_, err := Mirrors{}.Of(Security)
	if err == nil || !strings.Contains(err.Error(), "--mirror debian-security=URL") || !strings.Contains(err.Error(), MirrorsVariable) {
		t.Errorf("error is %v, want one that says how to name a mirror", err)
	}
}

func FuzzSources(f *testing.F) {
	f.Add("deb [signed-by=x] http://a.example/debian trixie main\n", "Types: deb\nURIs: http://a\nSuites: x\n")
	f.Fuzz(func(_ *testing.T, list, sources string) {
		for _, s := range append(parseOneLine(list), parseDeb822(sources)...) {
			s.archive()
		}
	})
}
