package local

import "testing"

func TestBreakpointCrashIsToldFromOtherPanics(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  bool
	}{
		{"the emulator's", []string{"[   59.41] Oops: int3: 0000 [#2] SMP NOPTI", "[   59.42] Kernel panic - not syncing: Fatal exception in interrupt"}, true},
		{"corruption", []string{"[    4.41] Kernel panic - not syncing: dm-verity device corrupted"}, false},
		{"another oops", []string{"[    4.41] Oops: general protection fault", "[    4.42] Kernel panic - not syncing: Fatal exception"}, false},
		{"nothing", nil, false},
	} {
		if got := BreakpointCrash(tt.lines); got != tt.want {
			t.Errorf("%s: BreakpointCrash = %v, want %v", tt.name, got, tt.want)
		}
	}
}
