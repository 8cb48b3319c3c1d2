package tdx

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

func TestBootLog(t *testing.T) {
	events := append([]byte("events"), 0, 0, 0, 0)
	padded := func(fill byte, size int) []byte {
		return append(bytes.Clone(events), bytes.Repeat([]byte{fill}, size)...)
	}
	for _, tt := range []struct {
		name string
		area []byte
		want int // bytes; what is kept begins with the events
	}{
		{"no table", nil, 0},
		{"empty", []byte{}, 0},
		{"without padding", events, len(events)},
		{"padded with ones", padded(0xff, 200<<10), len(events) + 4<<10},
		{"padded with zeros, as its last event ends", padded(0, 200<<10), len(events) - 4 + 4<<10},
		{"bytes like padding, and padding", append(padded(0xfe, 10), bytes.Repeat([]byte{0xff}, 200<<10)...), len(events) + 10 + 4<<10},
		{"larger than evidence", bytes.Repeat([]byte("ab"), vm.MaxBootLogSize), 0},
		{"a large area with few events", padded(0xff, 1<<20), len(events) + 4<<10},
		{"huge", make([]byte, 5<<20), 0},
	} {
		file := filepath.Join(t.TempDir(), "CCEL")
		if tt.area != nil {
			if err := os.WriteFile(file, tt.area, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := (&Device{bootLog: file}).log()
		if len(got) != tt.want || tt.want > 0 && !bytes.HasPrefix(got, events) {
			t.Errorf("%s: %d bytes, want %d", tt.name, len(got), tt.want)
		}
	}
}
