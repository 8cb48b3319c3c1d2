package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"
)

// signed appends what scripts/sign-file of Linux appends: a message, struct
// module_signature, the magic string.
func signed(b []byte, message string) []byte {
	b = append(bytes.Clone(b), message...)
	b = append(b, 0, 0, 2, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	return append(b, signatureMagic...)
}

func TestStrip(t *testing.T) {
	plain := module("name=dm-verity")
	btf := withNames("\x00.BTF\x00\x00\x00\x00\x00.shstrtab\x00", "types")
	for name, c := range map[string]struct {
		in, want []byte
		err      string
	}{
		"nothing to strip":     {in: plain, want: plain},
		"signature":            {in: signed(plain, "a PKCS #7 message"), want: plain},
		"signature too long":   {in: append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0}, signatureMagic...), err: "claims"},
		"signature cut off":    {in: []byte(signatureMagic), err: "cut off"},
		"text":                 {in: []byte("hello"), err: "not a 64-bit"},
		"table outside":        {in: plain[:100], err: "outside"},
		"32-bit":               {in: append([]byte("\x7fELF\x01\x01"), make([]byte, 80)...), err: "not a 64-bit"},
		"names beyond the end": {in: mark(plain, 62, 9), err: "outside"},
	} {
		before := bytes.Clone(c.in)
		got, err := Strip(c.in)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v, want one with %q", name, err, c.err)
		case c.err == "" && (err != nil || !bytes.Equal(got, c.want)):
			t.Errorf("%s: %d bytes (%v), want %d", name, len(got), err, len(c.want))
		}
		if !bytes.Equal(before, c.in) {
			t.Errorf("%s: the input was changed", name)
		}
	}

	got, err := Strip(signed(btf, "m"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if f.Section(".BTF") != nil || bytes.Contains(got, []byte("types")) {
		t.Error("BTF is still there")
	}
	if len(got) != len(btf) {
		t.Errorf("%d bytes, want %d: offsets must stay", len(got), len(btf))
	}
}

// mark returns b with one 16-bit field changed.
func mark(b []byte, at int, value uint16) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint16(b[at:], value)
	return b
}

func FuzzStrip(f *testing.F) {
	f.Add(module("name=x"))
	f.Add(signed(withNames("\x00.BTF\x00\x00\x00\x00\x00.shstrtab\x00", "types"), "m"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Strip(b)
		if err == nil && len(got) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(got))
		}
	})
}
