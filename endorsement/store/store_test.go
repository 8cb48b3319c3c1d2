package store

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
func TestZipBombIsBounded(t *testing.T) {
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

func TestPrune(t *testing.T) {
	f := open(t)
	old, recent, big := entry(1), entry(2), entry(3)
	old.Fetched, big.Fetched = now.AddDate(-2, 0, 0), now.Add(-time.Hour)
	big.Body = make([]byte, 5000)
	put(t, f, old, recent, big)
	for _, litter := range []string{"objects/" + temporary + "1", "index/" + temporary + "2", "index/broken.json", "objects/" + strings.Repeat("0", 64)} {
		if err := os.WriteFile(filepath.Join(f.dir, litter), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func() (n int) {
		for _, sub := range []string{"index", "objects"} {
			list, err := os.ReadDir(filepath.Join(f.dir, sub))
			if err != nil {
				t.Fatal(err)
			}
			n += len(list)
		}
		return n
	}
	bounds := Bounds{Size: 3000, Age: 365 * 24 * time.Hour}
	if err := f.Prune(now, bounds, true); err != nil {
		t.Fatal(err)
	}
	if entries, damaged := f.List(); len(entries) != 1 || !same(entries[0], recent) || len(damaged) != 0 {
		t.Fatalf("%d entries left, want the recent one; damaged %v", len(entries), damaged)
	}
	// What no entry names is spared while it is young, then removed.
	aged := time.Now().Add(-2 * young)
	for _, sub := range []string{"index", "objects"} {
		list, err := os.ReadDir(filepath.Join(f.dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range list {
			if err := os.Chtimes(filepath.Join(f.dir, sub, file.Name()), aged, aged); err != nil {
				t.Fatal(err)
			}
		}
	}
	if files() <= 3 {
		t.Error("young files were removed")
	}
	recent.Fetched = time.Now()
	put(t, f, recent)
	if err := f.Prune(time.Now(), bounds, true); err != nil {
		t.Fatal(err)
	}
	if n := files(); n != 3 { // index, body, chain
		t.Errorf("%d files left, want 3", n)
	}
	if got, err := f.Get(recent.Request); err != nil || !same(got, recent) {
		t.Error(err)
	}
}

func TestPruneOncePerDay(t *testing.T) {
	f := open(t)
	old := entry(1)
	old.Fetched = now.AddDate(-2, 0, 0)
	for i, want := range []bool{false, true, false} { // is it there afterwards?
		put(t, f, old)
		if err := f.Prune(now.Add(time.Duration(i)*20*time.Hour), DefaultBounds, false); err != nil {
			t.Fatal(err)
		}
		_, err := f.Get(old.Request)
		if there := err == nil; there != want {
			t.Errorf("run %d: there %v, want %v", i, there, want)
		}
	}
}

// Writers, readers and pruners at once: a reader sees a whole entry or none.
func TestConcurrentUse(t *testing.T) {
	f := open(t)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 30 {
				e := entry(i % 5)
				e.Body = bytes.Repeat([]byte{byte(w)}, 1000+i)
				if err := f.Put(e); err != nil {
					t.Error(err)
				}
				got, err := f.Get(e.Request)
				if err != nil {
					t.Error(err)
				} else if got.Request != e.Request {
					t.Errorf("asked for %s, got %s", e.Request, got.Request)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := f.Prune(time.Now(), DefaultBounds, true); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if entries, damaged := f.List(); len(entries) != 5 || len(damaged) != 0 {
		t.Errorf("%d entries, damaged %v", len(entries), damaged)
	}
}

// A process that is killed while it writes leaves whole entries or none.
func TestKilledWriters(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_WRITE"); dir != "" {
		f, err := OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			e := entry(i % 3)
			e.Body = bytes.Repeat([]byte{byte(i)}, 200_000)
			put(t, f, e)
		}
	}
	dir := t.TempDir()
	for i := range 10 {
		writer := exec.Command(os.Args[0], "-test.run=^TestKilledWriters$")
		writer.Env = append(os.Environ(), "STORE_TEST_WRITE="+dir)
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+7*i) * time.Millisecond)
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		writer.Wait()
	}
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	entries, damaged := f.List()
	if len(damaged) != 0 || len(entries) == 0 {
		t.Errorf("%d entries, damaged %v", len(entries), damaged)
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
