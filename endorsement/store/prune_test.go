package store

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

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
