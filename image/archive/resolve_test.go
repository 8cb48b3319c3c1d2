package archive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// stanza is one paragraph of a Packages file.
func stanza(name, version, depends, provides string) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nDepends: %s\nProvides: %s\nFilename: pool/%s_%s.deb\nSize: 10\nSHA256: %s\n\n",
		name, version, depends, provides, name, version, vm.HashOf([]byte(name+version)))
}

// testIndex has a stable suite and backports.
func testIndex(t testing.TB) *index {
	var x index
	stable := stanza("app", "1.0", "libc (>= 2), lib1 | lib2, mta", "") +
		stanza("libc", "2.5", "", "") +
		stanza("lib1", "1.0", "libc", "") +
		stanza("lib2", "1.0", "", "") +
		stanza("postfix", "3", "perl", "mta") +
		stanza("exim", "4", "", "mta") +
		stanza("perl", "5", "", "") +
		stanza("bios", "1.16", "", "") +
		stanza("loop-a", "1", "loop-b", "") + stanza("loop-b", "1", "loop-a", "") +
		stanza("broken", "1", "absent (>= 3)", "") +
		stanza("wants-virtual", "1", "virtual (>= 2)", "") + stanza("virtual-impl", "1", "", "virtual") + stanza("virtual-new", "1", "", "virtual (= 2.1)") +
		stanza("late", "1", "bios, emulator", "")
	security := stanza("libc", "2.5+deb13u1", "", "")
	backports := stanza("emulator", "11", "bios (>> 1.17~), app:any", "") + stanza("bios", "1.17", "", "") + stanza("app", "2.0", "", "")
	for _, s := range []struct {
		text string
		spec SuiteSpec
	}{
		{stable, SuiteSpec{Archive: Debian, Suite: "trixie"}},
		{security, SuiteSpec{Archive: Security, Suite: "trixie-security"}},
		{backports, SuiteSpec{Archive: Debian, Suite: "trixie-backports", OptIn: true}},
	} {
		if err := x.add(strings.NewReader(s.text), s.spec); err != nil {
			t.Fatal(err)
		}
	}
	return &x
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name    string
		want    Wanted
		result  string
		wantErr string
	}{
		{"closure, newest of stable and security", Wanted{Packages: []string{"app"}}, "app 1.0, exim 4, lib1 1.0, libc 2.5+deb13u1", ""},
		{"excluded dependency", Wanted{Packages: []string{"app"}, Exclude: []string{"mta"}}, "app 1.0, lib1 1.0, libc 2.5+deb13u1", ""},
		{"alternative that is there already", Wanted{Packages: []string{"lib2", "app"}, Exclude: []string{"mta"}}, "app 1.0, lib2 1.0, libc 2.5+deb13u1", ""},
		{"provider that is there already", Wanted{Packages: []string{"postfix", "app"}, Exclude: []string{"perl"}}, "app 1.0, lib1 1.0, libc 2.5+deb13u1, postfix 3", ""},
		{"from a named suite", Wanted{Packages: []string{"app/trixie-backports"}}, "app 2.0", ""},
		{"opt-in only where needed", Wanted{Packages: []string{"emulator"}, Exclude: []string{"mta"}}, "app 1.0, bios 1.17, emulator 11, lib1 1.0, libc 2.5+deb13u1", ""},
		{"chosen too early", Wanted{Packages: []string{"late"}, Exclude: []string{"mta", "app"}}, "bios 1.17, emulator 11, late 1", ""},
		{"circle", Wanted{Packages: []string{"loop-a"}}, "loop-a 1, loop-b 1", ""},
		{"versioned provider", Wanted{Packages: []string{"wants-virtual"}}, "virtual-new 1, wants-virtual 1", ""},
		{"no such package", Wanted{Packages: []string{"nothing"}}, "", "no suite has the package nothing"},
		{"no such suite", Wanted{Packages: []string{"app/sid"}}, "", `suite "sid"`},
		{"nothing satisfies", Wanted{Packages: []string{"broken"}}, "", "absent >= 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := testIndex(t).resolve(c.want)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error is %v, want one about %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range got {
				names = append(names, p.Name+" "+p.Version)
			}
			if s := strings.Join(names, ", "); s != c.result {
				t.Errorf("packages are %s, want %s", s, c.result)
			}
		})
	}
}

func TestIndexRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"no size", "Package: a\nSHA256: " + vm.Hash{1}.String() + "\n", "has the size"},
		{"no digest", "Package: a\nSize: 1\n", "64 hex digits"},
		{"not a stanza", "<html>\n", "want Name: value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x index
			err := x.add(strings.NewReader(c.text), SuiteSpec{Suite: "trixie"})
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(stanza("a", "1:2~3-4", "b (>= 1) | c:any, d [amd64] <!x>", "e (= 1)"))
	f.Fuzz(func(t *testing.T, text string) {
		var x index
		if x.add(strings.NewReader(text), SuiteSpec{Suite: "s"}) != nil {
			return
		}
		for name := range x.byName {
			_, _ = x.resolve(Wanted{Packages: []string{name}})
		}
	})
}
