package workload

import (
	"os"
	"path/filepath"
	"testing"
)

func TestConfine(t *testing.T) {
	for _, tt := range []struct {
		memory uint64
		want   string
	}{
		{2 << 30, "1677721600"},   // all but 448 MiB
		{8 << 30, "7516192768"},   // all but an eighth
		{64 << 30, "66571993088"}, // all but 2 GiB
		{512 << 20, "268435456"},  // half
	} {
		root := t.TempDir()
		for _, group := range []string{"workload", "engine"} {
			if err := os.Mkdir(filepath.Join(root, group), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"cgroup.subtree_control", "workload/cgroup.subtree_control", "workload/memory.max", "workload/pids.max", "workload/cpu.weight", "engine/cpu.weight"} {
			if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := confine(root, tt.memory, 16000); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"cgroup.subtree_control": "+cpu +cpuset +io +memory +pids", "workload/memory.max": tt.want, "workload/pids.max": "12000", "workload/cpu.weight": "50", "engine/cpu.weight": "400",
		} {
			if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
				t.Errorf("%d bytes: %s is %s, %v, want %s", tt.memory, name, got, err, want)
			}
		}
	}
	if err := confine(filepath.Join(t.TempDir(), "file"), 1<<30, 1000); err == nil {
		t.Error("no cgroups: no error") // files that are not there are not made
	}
}
