package usage

import (
	"os"
	"path/filepath"
	"testing"
)

func proc(t *testing.T, meminfo, stat string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"meminfo": meminfo, "stat": stat} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const meminfo = "MemTotal:        2097152 kB\nMemFree:          100000 kB\nMemAvailable:     524288 kB\n"

func TestSample(t *testing.T) {
	dir := proc(t, meminfo, "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1 1 1 1\nintr 5\n")
	s := &Sampler{Proc: dir, Disk: filepath.Join(dir, "absent")}
	s.take()
	if got := s.Samples().Now(); got != (Sample{MemoryUsed: 1.5, MemoryTotal: 2, MemoryPercent: 75}) {
		t.Errorf("first sample: %+v", got)
	}
	// 60 ticks of work, 20 of idling, 20 of waiting for the disk.
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte("cpu  150 0 110 1020 20 0 0 0 7 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Disk = dir
	s.take()
	got := s.Samples().Now()
	if got.CPUPercent != 60 || got.DiskTotal <= 0 || got.DiskUsed < 0 || got.DiskUsed > got.DiskTotal || got.DiskPercent > 100 {
		t.Errorf("second sample: %+v", got)
	}
}

// TestUnreadable: no number, no file, counters that run backwards.
func TestUnreadable(t *testing.T) {
	for _, c := range []struct{ meminfo, stat string }{
		{"", ""},
		{"MemTotal:", "cpu"},
		{"MemTotal: x kB\nMemAvailable: 99999999999999999999999 kB", "cpu  a b c"},
		{"MemTotal: 1 kB\nMemAvailable: 5 kB", "cpu  1 1 1 1"},
	} {
		s := &Sampler{Proc: proc(t, c.meminfo, c.stat), busy: 1000, idle: 1000}
		s.take()
		if got := s.Samples().Now(); got.CPUPercent != 0 || got.MemoryPercent != 0 {
			t.Errorf("%q, %q: %+v", c.meminfo, c.stat, got)
		}
	}
	if (Samples{}).Now() != (Sample{}) {
		t.Error("no sample is not zero")
	}
}

func TestSamplesAreBounded(t *testing.T) {
	dir := proc(t, meminfo, "cpu  1 1 1 1\n")
	s := &Sampler{Proc: dir, Disk: dir}
	for range 3 * Kept {
		s.take()
	}
	if n := len(s.Samples()); n != Kept {
		t.Errorf("%d samples are kept, want %d", n, Kept)
	}
}

func FuzzNumbers(f *testing.F) {
	f.Add("cpu  1 2 3 4 5 6 7 8 9 10 11\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := &Sampler{Proc: proc(t, text, text)}
		s.take()
		s.take()
		if got := s.Samples().Now(); got.CPUPercent < 0 || got.CPUPercent > 100 || got.MemoryPercent < 0 || got.MemoryPercent > 100 {
			t.Errorf("%+v", got)
		}
	})
}
