package lock

import (
	"bytes"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func sample() Lock {
	p := func(name, version string) Package {
		return Package{Name: name, Version: version, Arch: "amd64", Archive: "debian", Path: "pool/main/x/" + name + ".deb", Size: 7, SHA256: vm.HashOf([]byte(name + version))}
	}
	return Lock{Version: 1, Groups: map[string][]Package{Guest: {p("b", "1"), p("a", "1:2-3")}, Tools: {p("a", "1:2-3")}}}
}

func TestEncodeIsDeterministicAndParsesBack(t *testing.T) {
	first, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("a lock that is read and written again differs:\n%s\n%s", first, second)
	}
	both, err := l.Group(Guest, Tools)
	if err != nil || len(both) != 2 || both[0].Name != "a" {
		t.Errorf("packages of both groups are %v (%v), want a and b, each once", both, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, wantErr string }{
		{"unknown field", `"version": 1`, `"version": 1, "trust": "me"`, "unknown field"},
		{"another version", `"version": 1`, `"version": 2`, "version is 2"},
		{"path out of the pool", "pool/main/x/b.deb", "pool/../../b.deb", "has the path"},
		{"another URL", "pool/main/x/b.deb", "https://elsewhere.example/b.deb", "has the path"},
		{"archive with a slash", `"archive": "debian"`, `"archive": "de/bian"`, "names the archive"},
		{"name with a slash", `"name": "b"`, `"name": "b/c"`, "is not a package"},
		{"no size", `"size": 7`, `"size": 0`, "lacks its size"},
		{"out of order", `"name": "b"`, `"name": "a"`, "not in order"},
		{"short digest", vm.HashOf([]byte("b1")).String(), "ab", "64 hex digits"},
		{"trailing bytes", "\n}\n", "\n} {}\n", "trailing bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(string(good), c.from, c.to, 1)
			if text == string(good) {
				t.Fatalf("%q is not in the sample", c.from)
			}
			if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

func TestGroupThatIsMissingNamesTheRemedy(t *testing.T) {
	if _, err := sample().Group("firmware"); err == nil || !strings.Contains(err.Error(), "secretvm image lock") {
		t.Errorf("error is %v, want one that names secretvm image lock", err)
	}
}

func TestCompare(t *testing.T) {
	next := sample()
	next.Groups[Guest][0].Version = "2"
	next.Groups[Tools] = nil
	next.Groups[Kernel] = []Package{{Name: "k", Version: "7"}}
	got := strings.Join(Compare(sample(), next), "\n")
	want := "guest: b 1 → 2\nkernel: + k 7\ntools: - a 1:2-3"
	if got != want {
		t.Errorf("changes are\n%s\nwant\n%s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	good, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		again, err := l.Encode()
		if err != nil {
			t.Fatalf("a lock that was read cannot be written: %v", err)
		}
		if _, err := Parse(again); err != nil {
			t.Fatalf("a lock that was written cannot be read: %v", err)
		}
	})
}
