package eventlog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
)

// event makes one whose digest is that of content.
func event(register int, name, content string) vm.Event {
	e := vm.Event{Register: register, Name: name, Payload: []byte(content)}
	copy(e.Digest[:], content)
	return e
}

func boot() []vm.Event {
	return []vm.Event{
		event(0, "td-hob", "hob"), event(0, "cfv", "cfv"), event(0, "separator", "0"), event(0, "etc/acpi/tables", "acpi"), event(0, "BootOrder", "0000"),
		event(1, "kernel", "linux"), event(1, "action", "calling"), event(1, "separator", "0"), event(1, "action", "exit"), event(1, "action", "success"),
		event(2, "command-line", "quiet"), event(2, "initrd", "cpio"),
	}
}

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func([]vm.Event) []vm.Event
		want   []string
	}{
		{"equal", func(e []vm.Event) []vm.Event { return e }, nil},
		{"registers interleaved", func(e []vm.Event) []vm.Event { return slices.Concat(e[5:], e[:5]) }, nil},
		{"changed", func(e []vm.Event) []vm.Event { e[10] = event(2, "command-line", "debug"); return e }, []string{"changed 2 0"}},
		{"changed name and all", func(e []vm.Event) []vm.Event { e[3] = event(0, "etc/other", "x"); return e }, []string{"changed 0 3"}},
		{"two changed", func(e []vm.Event) []vm.Event {
			e[0], e[11] = event(0, "td-hob", "more"), event(2, "initrd", "other")
			return e
		}, []string{"changed 0 0", "changed 2 1"}},
		{"missing", func(e []vm.Event) []vm.Event { return slices.Delete(e, 3, 4) }, []string{"missing 0 3"}},
		{"last missing", func(e []vm.Event) []vm.Event { return e[:11] }, []string{"missing 2 1"}},
		{"additional", func(e []vm.Event) []vm.Event { return slices.Insert(e, 3, event(0, "bootorder", "rom")) }, []string{"additional 0 3"}},
		{"additional at the end", func(e []vm.Event) []vm.Event { return append(e, event(2, "tag", "late")) }, []string{"additional 2 2"}},
		{"duplicate", func(e []vm.Event) []vm.Event { return append(e, event(0, "separator", "0")) }, []string{"duplicate 0 5"}},
		{"swapped", func(e []vm.Event) []vm.Event { e[10], e[11] = e[11], e[10]; return e }, []string{"moved 2 1"}},
		{"in another register", func(e []vm.Event) []vm.Event { e[7].Register = 0; return e }, []string{"duplicate 0 5", "missing 1 2"}},
		{"unique, in another register", func(e []vm.Event) []vm.Event { e[5].Register = 0; return e }, []string{"moved 1 0"}},
		{"another firmware", func(e []vm.Event) []vm.Event {
			return append(slices.Insert(e, 4, event(0, "handoff-tables", "smbios")), event(0, "Boot0001", "menu"))
		}, []string{"additional 0 4", "additional 0 6"}},
		{"nothing seen", func([]vm.Event) []vm.Event { return nil }, slices.Repeat([]string{"missing"}, 12)},
	} {
		var got []string
		for _, d := range eventlog.Diff(boot(), tt.change(boot())) {
			got = append(got, fmt.Sprintf("%s %d %d", d.Kind, d.Register, d.Index))
			if s := d.String(); !strings.HasPrefix(s, fmt.Sprintf("RTMR%d event %d: ", d.Register, d.Index)) || strings.Contains(s, "%!") {
				t.Errorf("%s: String = %q", tt.name, s)
			}
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("%s: difference %d is %q, want %q", tt.name, i, got[i], tt.want[i])
			}
		}
	}
}

// Whatever two lists are, Diff finds nothing exactly when their registers are
// equal, and each difference is of an event of theirs.
func FuzzDiff(f *testing.F) {
	f.Add([]byte("abc"), []byte("abd"))
	f.Add([]byte("aabbccaabb"), []byte("bbaaccbbaaa"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		list := func(in []byte) (out []vm.Event) {
			for _, c := range in[:min(len(in), vm.MaxEvents)] {
				out = append(out, event(int(c)%4, string(rune('a'+c%5)), string(rune(c))))
			}
			return out
		}
		wanted, seen := list(a), list(b)
		left, _ := vm.Replay(wanted)
		right, _ := vm.Replay(seen)
		d := eventlog.Diff(wanted, seen)
		if (left == right) != (len(d) == 0) {
			t.Fatalf("registers equal: %t, differences: %v", left == right, d)
		}
		for _, x := range d {
			_ = x.String()
		}
	})
}

// Long lists that have nothing in common are compared in bounded time and memory.
func TestDiffIsBounded(t *testing.T) {
	var wanted, seen []vm.Event
	for i := range 4096 {
		wanted, seen = append(wanted, event(0, "a", fmt.Sprint("w", i))), append(seen, event(0, "b", fmt.Sprint("s", i)))
	}
	if d := eventlog.Diff(wanted, seen); len(d) != 4096 || d[0].Kind != eventlog.Changed || d[0].Index != 0 {
		t.Errorf("%d differences, the first %v", len(d), d[0])
	}
}
