package tsm

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// kernel plays configfs: the report is the data, and what goes wrong is counted
// down.
type kernel struct {
	entries               map[string]*entry
	made                  int
	busy, again, intruder int
	floor                 string
	generation            string // instead of a number
	fail                  string // file that is not there
}

type entry struct {
	data, level []byte
	generation  int
}

func (k *kernel) MkdirTemp(dir, pattern string) (string, error) {
	if dir != Folder {
		return "", os.ErrNotExist
	}
	k.made++
	name := fmt.Sprintf("%s/%s%d", dir, pattern, k.made)
	if k.entries == nil {
		k.entries = map[string]*entry{}
	}
	k.entries[name] = &entry{}
	return name, nil
}

func (k *kernel) RemoveAll(name string) error {
	delete(k.entries, name)
	return nil
}

func (k *kernel) WriteFile(name string, b []byte) error {
	e := k.entries[path.Dir(name)]
	e.generation++
	switch file := path.Base(name); {
	case file == k.fail:
		return os.ErrNotExist
	case file == "privlevel" && k.floor != "":
		return syscall.EINVAL
	case file == "privlevel":
		e.level = b
	case file == "inblob":
		e.data = b
	}
	return nil
}

func (k *kernel) ReadFile(name string) ([]byte, error) {
	e := k.entries[path.Dir(name)]
	switch file := path.Base(name); {
	case file == k.fail:
		return nil, os.ErrNotExist
	case file == "generation" && k.generation != "":
		return []byte(k.generation), nil
	case file == "generation":
		return fmt.Appendln(nil, e.generation), nil
	case file == "privlevel_floor":
		return []byte(k.floor + "\n"), nil
	case file == "provider":
		return []byte("some_guest\n"), nil
	case k.busy > 0:
		k.busy--
		return nil, &os.PathError{Op: "read", Path: name, Err: syscall.EBUSY}
	case k.again > 0:
		k.again--
		return nil, &os.PathError{Op: "read", Path: name, Err: syscall.EAGAIN}
	case k.intruder > 0:
		k.intruder--
		e.generation++
	}
	return append([]byte("level "+string(e.level)+" "), e.data...), nil
}

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		name    string
		kernel  kernel
		level   string
		made    int
		wantErr string
	}{
		{"with a level", kernel{}, "0", 1, ""},
		{"without levels", kernel{}, "", 1, ""},
		{"busy for a moment", kernel{busy: 2}, "", 3, ""},
		{"busy", kernel{busy: 3}, "", 3, "device or resource busy"},
		{"not now", kernel{again: 1}, "0", 2, ""},
		{"somebody writes", kernel{intruder: 1}, "0", 2, ""},
		{"somebody always writes", kernel{intruder: 9}, "", 3, "changed while it was answered: generation is 2, want 1"},
		{"below a level", kernel{floor: "2"}, "0", 1, "the kernel runs at level 2, want 0"},
		{"refuses its own level", kernel{floor: "0"}, "0", 1, "write privlevel: invalid argument"},
		{"no generation", kernel{fail: "generation"}, "", 1, "read generation"},
		{"no number", kernel{generation: "-1\n"}, "", 1, `generation is "-1\n", want a number`},
		{"no inblob", kernel{fail: "inblob"}, "", 1, "write inblob"},
		{"no outblob", kernel{fail: "outblob"}, "", 1, "read outblob"},
		{"no provider", kernel{fail: "provider"}, "", 1, "read provider"},
	} {
		r := Request{Provider: "some_guest", Level: tt.level, Data: [64]byte{7}}
		got, err := Ask(t.Context(), new(sync.Mutex), &tt.kernel, r)
		if tt.kernel.made != tt.made || len(tt.kernel.entries) != 0 {
			t.Errorf("%s: %d requests were made, want %d; %d are left", tt.name, tt.kernel.made, tt.made, len(tt.kernel.entries))
		}
		want := "level " + tt.level + " " + string(r.Data[:])
		if tt.wantErr == "" && (err != nil || string(got) != want) || tt.wantErr != "" && (err == nil || got != nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.wantErr)
		}
	}
	if _, err := Ask(t.Context(), new(sync.Mutex), &kernel{}, Request{Provider: "other_guest"}); err == nil || !strings.Contains(err.Error(), `provider is "some_guest\n"`) {
		t.Errorf("another TEE answers: %v", err)
	}
}

func TestOpenWithoutConfigfs(t *testing.T) {
	if _, err := os.Stat(Folder); err == nil {
		t.Skip("this machine has configfs-tsm")
	}
	if _, err := Open(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "tsm_report") {
		t.Errorf("error is %v", err)
	}
}
