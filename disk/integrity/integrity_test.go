package integrity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

func superblock(version byte, sectors uint64) []byte {
	b := make([]byte, superblockSize)
	copy(b, magic)
	b[offVersion] = version
	binary.LittleEndian.PutUint64(b[offProvided:], sectors)
	return b
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		b       []byte
		want    uint64
		wantErr bool
	}{
		{"good", superblock(5, 8000), 8000, false},
		{"zeros", make([]byte, superblockSize), 0, true},
		{"short", superblock(5, 8000)[:100], 0, true},
		{"no version", superblock(0, 8000), 0, true},
		{"no room", superblock(5, 0), 0, true},
		{"half a block", superblock(5, 8001), 0, true},
		{"too large", superblock(5, 1<<51), 0, true},
	} {
		got, err := parse(tt.b)
		if got != tt.want || (err != nil) != tt.wantErr || err != nil && !errors.Is(err, ErrSuperblock) {
			t.Errorf("%s: %d, %v", tt.name, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(superblock(5, 8000))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parse(b); err == nil && n == 0 {
			t.Error("a device without room")
		}
	})
}

// TestD3_KeysAreOfTheDisk: tags and journal have keys of their own, which follow
// from the disk's volume key and print nowhere.
func TestD3_KeysAreOfTheDisk(t *testing.T) {
	one, err := Derive(bytes.Repeat([]byte{1}, 64))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := Derive(bytes.Repeat([]byte{2}, 64))
	if one.tags == one.journal || one.tags == other.tags || one.tags == [32]byte{} {
		t.Error("keys repeat")
	}
	table := one.table("/dev/dm-0", 8000, journaled)
	want := fmt.Sprintf("/dev/dm-0 0 32 J 5 block_size:4096 fix_padding fix_hmac internal_hash:hmac(sha256):%x journal_mac:hmac(sha256):%x", one.tags, one.journal)
	if string(table.Params) != want || !table.Secret || table.Sectors != 8000 {
		t.Errorf("table is %s", table.Params)
	}
	if s := fmt.Sprintf("%v %+v %#v", one, one, one); s != "redacted redacted redacted" {
		t.Errorf("prints as %s", s)
	}
	one.Wipe()
	if one.tags != [32]byte{} || one.journal != [32]byte{} {
		t.Error("not wiped")
	}
}
