package store

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func entry(n int) Entry {
	return Entry{
		Request: fmt.Sprintf("intel/tdx/tcb?fmspc=%012x", n), Source: "https://pccs.example/tcb", Fetched: now,
		Body: bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 1000), Chain: []byte("chain"),
	}
}

func open(t testing.TB) *Folder {
	t.Helper()
	f, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t testing.TB, f *Folder, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := f.Put(e); err != nil {
			t.Fatal(err)
		}
	}
}

func same(a, b Entry) bool {
	return a.Request == b.Request && a.Source == b.Source && a.Fetched.Equal(b.Fetched) && bytes.Equal(a.Body, b.Body) && bytes.Equal(a.Chain, b.Chain)
}

func TestPutGetListZip(t *testing.T) {
	f := open(t)
	one, two := entry(1), entry(2)
	two.Chain = nil
	put(t, f, two, one, one)
	var zipped, again bytes.Buffer
	if err := errors.Join(WriteZip(&zipped, []Entry{one, two}), WriteZip(&again, []Entry{one, two})); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(zipped.Bytes(), again.Bytes()) {
		t.Error("the same entries gave different zips")
	}
	file := filepath.Join(t.TempDir(), "collateral.zip")
	if err := os.WriteFile(file, zipped.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{f.Name(), file} {
		a, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		entries, damaged := a.List()
		if len(entries) != 2 || len(damaged) != 0 || !same(entries[0], one) || !same(entries[1], two) {
			t.Errorf("%s lists %d entries, damaged %v", name, len(entries), damaged)
		}
		got, err := a.Get(one.Request)
		if err != nil || !same(got, one) {
			t.Errorf("%s gives %+v, %v", name, got, err)
		}
		if _, err := a.Get("intel/rootcacrl"); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s gives %v for what was never put", name, err)
		}
	}
	replaced := one
	replaced.Body = []byte("newer")
	put(t, f, replaced)
	if got, err := f.Get(one.Request); err != nil || !same(got, replaced) {
		t.Errorf("after a second Put: %+v, %v", got, err)
	}
	if err := errors.Join(f.Remove(one.Request), f.Remove(one.Request)); err != nil {
		t.Error(err)
	}
	if _, err := f.Get(one.Request); !errors.Is(err, ErrAbsent) {
		t.Errorf("after Remove: %v", err)
	}
}

func TestPutRefuses(t *testing.T) {
	f := open(t)
	for name, spoil := range map[string]func(*Entry){
		"no request":   func(e *Entry) { e.Request = "" },
		"long request": func(e *Entry) { e.Request = strings.Repeat("x", MaxRequest+1) },
		"escape":       func(e *Entry) { e.Source = "https://\x1b[31m" },
		"no body":      func(e *Entry) { e.Body = nil },
		"huge body":    func(e *Entry) { e.Body = make([]byte, MaxObject+1) },
		"no time":      func(e *Entry) { e.Fetched = time.Time{} },
	} {
		e := entry(1)
		spoil(&e)
		if f.Put(e) == nil {
			t.Errorf("%s: was kept", name)
		}
	}
}

// Whatever happened to the files, damage reads as absence, and the next Put
// repairs it.
func TestDamageIsAbsence(t *testing.T) {
	e := entry(1)
	object := func(f *Folder) string { return filepath.Join(f.dir, objectName(vm.HashOf(e.Body))) }
	indexFile := func(f *Folder) string { return filepath.Join(f.dir, indexName(e.Request)) }
	write := func(b string) func(string) error {
		return func(name string) error { return os.WriteFile(name, []byte(b), 0o600) }
	}
	for _, tt := range []struct {
		name  string
		file  func(*Folder) string
		spoil func(string) error
	}{
		{"object cut", object, func(n string) error { return os.Truncate(n, 100) }},
		{"object empty", object, func(n string) error { return os.Truncate(n, 0) }},
		{"object changed", object, write("something else")},
		{"object gone", object, os.Remove},
		{"object huge", object, func(n string) error { return os.Truncate(n, 1<<40) }},
		{"index cut", indexFile, func(n string) error { return os.Truncate(n, 30) }},
		{"index empty", indexFile, write("")},
		{"index unknown version", indexFile, write(`{"version":2}`)},
		{"index huge", indexFile, func(n string) error { return os.Truncate(n, 1<<40) }},
		{"index of another request", indexFile, func(n string) error {
			other := entry(2)
			other.Body = e.Body
			x := fmt.Sprintf(`{"version":1,"request":%q,"source":"","fetched":"2026-01-01T00:00:00Z","body":"%s"}`, other.Request, vm.HashOf(e.Body))
			return os.WriteFile(n, []byte(x), 0o600)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t)
			put(t, f, e)
			if err := tt.spoil(tt.file(f)); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Get(e.Request); !errors.Is(err, ErrAbsent) {
				t.Fatalf("Get: %v", err)
			}
			if entries, damaged := f.List(); len(entries) != 0 || len(damaged) != 1 {
				t.Errorf("List: %d entries, damaged %v", len(entries), damaged)
			}
			put(t, f, e)
			if got, err := f.Get(e.Request); err != nil || !same(got, e) {
				t.Errorf("after repair: %v", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "no.zip")
	if err := os.WriteFile(file, []byte("not a zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big.zip")
	if err := errors.Join(os.WriteFile(big, nil, 0o600), os.Truncate(big, MaxArchive+1)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{dir: "collateral fetch", file: "no zip", big: "at most", filepath.Join(dir, "none"): "no such file"} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// A zip whose entries unpack to far more than they weigh costs bounded memory.
func TestK8_ZipBomb(t *testing.T) {
	bomb := make([]byte, MaxObject) // compresses to nothing
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, content []byte) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(objectName(vm.HashOf(bomb)), bomb)
	for i := range 200 { // 800 MiB, if all were read
		request := fmt.Sprintf("request %d", i)
		add(indexName(request), fmt.Appendf(nil, `{"version":1,"request":%q,"source":"","fetched":"2026-01-01T00:00:00Z","body":"%s"}`, request, vm.HashOf(bomb)))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := OpenZip("bomb", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	entries, damaged := a.List()
	if len(entries) > MaxArchive/MaxObject || len(damaged) != 1 {
		t.Errorf("%d entries were read, damaged %v", len(entries), damaged)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"version":1,"request":"intel/rootcacrl","source":"https://a","fetched":"2026-01-01T00:00:00Z","body":"` + strings.Repeat("ab", 32) + `"}`))
	f.Add([]byte(`{"version":1,"request":"x","source":"","fetched":"2026-01-01T00:00:00Z","body":"` + strings.Repeat("ab", 32) + `","chain":"` + strings.Repeat("cd", 32) + `"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseIndex(b)
		if err == nil && (x.Request == "" || !printable(x.Request+x.Source) || x.Body.IsZero()) {
			t.Errorf("accepted %q", b)
		}
	})
}

func FuzzZip(f *testing.F) {
	var b bytes.Buffer
	if err := WriteZip(&b, []Entry{entry(1), entry(2)}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := OpenZip("fuzz", b)
		if err != nil {
			return
		}
		entries, _ := a.List()
		for _, e := range entries {
			if err := e.check(); err != nil {
				t.Error(err)
			}
		}
	})
}
