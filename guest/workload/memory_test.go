package workload

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Only where memory is used up, and programs are read again and again, does the
// largest container end, and only that.
func TestRelief(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stat := func(folder string, anon, shmem, refaults int) {
		t.Helper()
		put(filepath.Join(folder, "memory.stat"), fmt.Sprintf("anon %d\nfile 900\nshmem %d\nworkingset_refault_anon 7\nworkingset_refault_file %d\n", anon, shmem, refaults))
		put(filepath.Join(folder, "cgroup.kill"), "")
	}
	put("memory.max", "1000\n")
	stat("small", 100, 0, 0)
	stat("large", 300, 400, 0)
	stat("idle", 0, 0, 0)
	proc := func(available, refaults int) {
		t.Helper()
		put("vmstat", fmt.Sprintf("nr_free_pages 12\nworkingset_refault_file %d\n", refaults))
		put("meminfo", fmt.Sprintf("MemTotal:  2000 kB\nMemFree:  7 kB\nMemAvailable:  %d kB\n", available))
	}
	proc(1000, 0)
	r := &relief{folder: root, proc: root}
	for i, look := range []struct {
		kept, refaults int
		ended          string
	}{
		{990, 5000, ""}, // what was before is unknown
		{990, 5000, ""}, // full, but nothing suffers
		{400, 9000, ""}, // much is read, but nothing is full
		{990, 10000, ""},
		{990, 11000, ""},
		{940, 12000, ""}, // it has eased
		{990, 13000, ""},
		{990, 14000, ""},
		{990, 15000, "large"},
		{990, 16000, ""}, // it takes a while to end
		{100, 16000, ""},
	} {
		stat("", look.kept-100, 100, look.refaults)
		ended, err := r.look()
		if err != nil || ended != look.ended {
			t.Errorf("look %d: ended %q, %v, want %q", i, ended, err, look.ended)
		}
	}
	for name, want := range map[string]string{"large": "1", "small": "", "idle": ""} {
		if b, _ := os.ReadFile(filepath.Join(root, name, "cgroup.kill")); string(b) != want {
			t.Errorf("%s: cgroup.kill has %q, want %q", name, b, want)
		}
	}
	// The machine itself may be short of memory before the containers are.
	for i, look := range []struct {
		available, refaults int
		ended               string
	}{
		{150, 1000, ""},
		{150, 2000, ""},
		{150, 2100, ""}, // little is read
		{150, 3000, ""},
		{150, 4000, ""},
		{150, 5000, "large"},
		{500, 9000, ""},
	} {
		proc(look.available, look.refaults)
		ended, err := r.look()
		if err != nil || ended != look.ended {
			t.Errorf("look %d at the machine: ended %q, %v, want %q", i, ended, err, look.ended)
		}
	}
	put("memory.max", "max\n")
	if _, err := r.look(); err == nil {
		t.Error("no limit: no error")
	}
}
