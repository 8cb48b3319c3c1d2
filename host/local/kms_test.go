package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/secretvm/secretvm/configdisk"
)

// A key manager of four: all are started, told to the machine, stopped, and found
// again; another number is refused with what to do.
func TestUpWithFourNodes(t *testing.T) {
	state := t.TempDir()
	for _, asked := range []int{4, 0} {
		in := installation(t, state, "good")
		in.o.KMSNodes = asked
		if err := in.startWithoutImage(t.Context()); err != nil {
			t.Fatal(err)
		}
		disk, err := os.Open(filepath.Join(in.folder.Dir(), "config.img"))
		if err != nil {
			t.Fatal(err)
		}
		archive, err := configdisk.ReadArchive(disk)
		disk.Close()
		var want []string
		for i := range 4 {
			want = append(want, fmt.Sprintf("http://%s:%d", guestGateway, 29380+2*i))
		}
		if err != nil || !slices.Equal(archive.Hints.KMS, want) {
			t.Errorf("the machine is told of %q, %v, want %q", archive.Hints.KMS, err, want)
		}
		r := in.Result()
		if len(r.KMS) != 4 || !strings.HasPrefix(r.Steps[0].Remark, "4 nodes, group key 8a8a…") {
			t.Errorf("result is %+v", r)
		}
		if err := in.Down(t.Context(), &names{}); err != nil {
			t.Error(err)
		}
		for _, n := range in.kms.nodes {
			if _, err := os.Stat(filepath.Join(n.home, "stopped")); err != nil {
				t.Errorf("%s was not stopped in order: %v", n.name, err)
			}
			if err := os.Remove(filepath.Join(n.home, "stopped")); err != nil {
				t.Error(err)
			}
		}
	}
	in := installation(t, state, "good")
	in.o.KMSNodes = 3
	err := in.startWithoutImage(t.Context())
	if err == nil || !strings.Contains(err.Error(), "has 4 nodes, and 3 are asked for") || !strings.Contains(err.Error(), "Leave --kms-nodes out") || !strings.Contains(err.Error(), "another --state") {
		t.Errorf("another number of nodes: %v", err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Error(err)
	}
}

func TestOneNodeStaysOne(t *testing.T) {
	state := t.TempDir()
	in := installation(t, state, "good")
	if _, err := in.startKMS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Error(err)
	}
	in = installation(t, state, "good")
	in.o.KMSNodes = 4
	if _, err := in.startKMS(t.Context()); err == nil || !strings.Contains(err.Error(), "has 1 node, and 4 are asked for") {
		t.Errorf("four nodes where there is one: %v", err)
	}
}

// One of four is down from the start, or never ready, or ends later: up goes on
// and says so. With two it does not.
func TestUpGoesOnWithoutOneNode(t *testing.T) {
	state := t.TempDir()
	begin := func(broken, slow []string) (*Installation, string, error) {
		in := installation(t, state, "good")
		in.o.KMSNodes = 4
		if err := in.kms.find(); err == nil && len(in.kms.nodes) == 0 {
			if _, err := in.kms.make(t.Context(), 4, "root.pem"); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"node1", "node2", "node3", "node4"} {
			for file, in := range map[string]bool{"broken": slices.Contains(broken, name), "slow": slices.Contains(slow, name)} {
				path := filepath.Join(state, "kms", name, file)
				_ = os.Remove(path)
				if in {
					if err := os.WriteFile(path, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		remark, err := in.startKMS(t.Context())
		return in, remark, err
	}
	for name, tc := range map[string]struct {
		broken, slow  []string
		remark, wants string // in the remark, and in the notes or the error
		fails         bool
	}{
		"first is down": {[]string{"node1"}, nil, "4 nodes (1 down)", "the database is damaged", false},
		"last is slow":  {nil, []string{"node4"}, "4 nodes (1 down)", "node4 of the KMS is not ready yet, 3 of 4 suffice", false},
		"two are down":  {[]string{"node1", "node3"}, nil, "", "node3 ended", true},
	} {
		in, remark, err := begin(tc.broken, tc.slow)
		said := strings.Join(in.reports.notes, "\n")
		if err != nil {
			said = err.Error()
		}
		if (err != nil) != tc.fails || !strings.HasPrefix(remark, tc.remark) || !strings.Contains(said, tc.wants) {
			t.Errorf("%s: remark %q, error %v, notes %q", name, remark, err, in.reports.notes)
		}
		if err == nil && len(in.kms.urls()) != 4 {
			t.Errorf("%s: the machine is told of %q", name, in.kms.urls())
		}
		if err := in.Down(t.Context(), &names{}); err != nil {
			t.Errorf("%s: down: %v", name, err)
		}
	}

	in, _, err := begin(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var warned []string
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	lost, why := in.kms.lost(ctx, func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		warned = append(warned, fmt.Sprintf(format, args...))
	})
	kill := func(i int) {
		if err := syscall.Kill(in.kms.nodes[i].process.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-in.kms.nodes[i].process.Done()
	}
	kill(2)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		said := strings.Join(warned, "\n")
		mu.Unlock()
		if strings.Contains(said, "node3 ended") && strings.Contains(said, "goes on with 3 of 4 nodes") {
			break
		}
	}
	if len(warned) != 1 {
		t.Errorf("warned %q", warned)
	}
	select {
	case <-lost:
		t.Error("three of four nodes do not suffice")
	default:
	}
	kill(0)
	select {
	case <-lost:
	case <-ctx.Done():
		t.Error("two of four nodes suffice")
	}
	if err := why(); err == nil || !strings.Contains(err.Error(), "node1 ended") || !strings.Contains(err.Error(), "node3 ended") {
		t.Errorf("why: %v", err)
	}
	if err := in.Down(t.Context(), &names{}); err != nil {
		t.Error(err)
	}
}
