package peer

import (
	"reflect"
	"testing"
)

func TestParseCBOR(t *testing.T) {
	got, err := parseCBOR([]byte("\xa3\x61a\x18\x64\x61b\x82\x41\xff\x61x\x61c\xa0"))
	if want := map[string]any{"a": uint64(100), "b": []any{[]byte{0xff}, "x"}, "c": map[string]any{}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for name, in := range map[string]string{
		"empty": "", "not a map": "\x01", "trailing": "\xa0\x00", "cut": "\xa1\x61a", "key twice": "\xa2\x61a\x01\x61a\x02", "key no text": "\xa1\x01\x01",
		"longer than needed": "\xa1\x61a\x18\x01", "two bytes for one": "\xa1\x61a\x19\x00\xff", "text over the end": "\xa1\x61a\x7a\x00\x10\x00\x00",
		"negative": "\xa1\x61a\x20", "indefinite": "\xbf\xff", "tag": "\xa1\x61a\xc0\x01", "64 bits": "\xa1\x61a\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
		"huge array": "\xa1\x61a\x9a\xff\xff\xff\xff", "deep": "\xa1\x61a\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x01",
	} {
		if v, err := parseCBOR([]byte(in)); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func FuzzParseCBOR(f *testing.F) {
	f.Add([]byte("\xa2\x61a\x18\x64\x61b\x82\x41\xff\x61x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseCBOR(b); err == nil && m == nil {
			t.Fatal("neither a document nor an error")
		}
	})
}
