package devmapper

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestRequestLayout(t *testing.T) {
	target := Target{Type: "crypt", Sectors: 1 << 33, Params: []byte("abc")}
	b, err := request{name: "data", uuid: "SECRETVM-1", flags: flagSecure, target: &target}.encode()
	if err != nil {
		t.Fatal(err)
	}
	ne := binary.NativeEndian
	if len(b) != 312+48 || ne.Uint32(b[12:]) != uint32(len(b)) || ne.Uint32(b[16:]) != 312 || ne.Uint32(b[20:]) != 1 {
		t.Errorf("sizes: %d bytes, data_size %d, data_start %d, targets %d", len(b), ne.Uint32(b[12:]), ne.Uint32(b[16:]), ne.Uint32(b[20:]))
	}
	if !bytes.HasPrefix(b[48:], []byte("data\x00")) || !bytes.HasPrefix(b[176:], []byte("SECRETVM-1\x00")) {
		t.Error("name or uuid is not where the kernel reads it")
	}
	spec := b[312:]
	if ne.Uint64(spec) != 0 || ne.Uint64(spec[8:]) != 1<<33 || ne.Uint32(spec[20:]) != 48 || string(spec[24:30]) != "crypt\x00" || string(spec[40:44]) != "abc\x00" {
		t.Errorf("target spec is %x", spec)
	}
}

func TestRequestBounds(t *testing.T) {
	for name, r := range map[string]request{
		"no name":     {},
		"long name":   {name: strings.Repeat("n", 128)},
		"long uuid":   {name: "n", uuid: strings.Repeat("u", 129)},
		"long target": {name: "n", target: &Target{Type: strings.Repeat("t", 16)}},
		"no target":   {name: "n", target: &Target{}},
	} {
		if _, err := r.encode(); err == nil {
			t.Errorf("%s: encoded without an error", name)
		}
	}
}
