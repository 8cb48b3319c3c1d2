package efi_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/efi"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
)

const firstVariable = 0x48 + 28 // behind the headers of volume and store

// variable is AUTHENTICATED_VARIABLE_HEADER with name and data, padded.
func variable(state byte, vendor efi.GUID, name string, data []byte) []byte {
	le := binary.LittleEndian
	b := []byte{0xaa, 0x55, state, 0}
	b = append(b, make([]byte, 4+8+16+4)...)
	text := efi.UTF16(name)
	b = le.AppendUint32(le.AppendUint32(b, uint32(len(text))), uint32(len(data)))
	b = append(append(append(b, vendor[:]...), text...), data...)
	for len(b)%4 != 0 {
		b = append(b, 0xff)
	}
	return b
}

func TestStoredVariables(t *testing.T) {
	blank := ovmftest.BlankVars()
	if v, err := efi.StoredVariables(blank); err != nil || len(v) != 0 {
		t.Errorf("a blank store holds %v (%v)", v, err)
	}
	full := bytes.Clone(blank)
	copy(full[firstVariable:], bytes.Join([][]byte{
		variable(0x3f, efi.GlobalVariable, "PK", []byte("key")),
		variable(0x3c, efi.GlobalVariable, "Deleted", []byte("old")),
		variable(0x3e, efi.SecurityDatabase, "db", nil),
	}, nil))
	v, err := efi.StoredVariables(full)
	if err != nil || len(v) != 2 || v[0].Name != "PK" || string(v[0].Data) != "key" || v[0].Vendor != efi.GlobalVariable || v[1].Name != "db" || len(v[1].Data) != 0 {
		t.Errorf("variables are %v (%v)", v, err)
	}
}

func TestStoredVariablesRefuses(t *testing.T) {
	le := binary.LittleEndian
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], v); return b }
	}
	for _, c := range []struct {
		name    string
		change  func([]byte) []byte
		wantErr string
	}{
		{"empty", func([]byte) []byte { return nil }, "no firmware volume"},
		{"no signature", put32(0x28, 0), "no firmware volume"},
		{"kind", put32(16, 0), "the volume is of kind 00000000-"},
		{"length", put32(0x20, 0xffffffff), "its header says 4294967295"},
		{"header", put32(0x30, 0), "header has 0 bytes"},
		{"long header", put32(0x30, 0xffff), "the store is of kind"},
		{"cut", func(b []byte) []byte { le.PutUint64(b[0x20:], 0x50); return b[:0x50] }, "header has 72 bytes"},
		{"store's kind", put32(0x48, 0), "the store is of kind"},
		{"store's size 0", put32(0x58, 0), "the store has 0 bytes"},
		{"store's size", put32(0x58, 0xffffffff), "the store has 4294967295 bytes"},
		{"long variable", put32(firstVariable+40, 0xfffffff0), "ends behind the store"},
		{"no name", put32(firstVariable+36, 0), "a name of 0 bytes"},
		{"odd name", put32(firstVariable+36, 5), "a name of 5 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := ovmftest.BlankVars()
			copy(b[firstVariable:], variable(0x3f, efi.GlobalVariable, "PK", []byte("key")))
			if _, err := efi.StoredVariables(c.change(b)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func FuzzStoredVariables(f *testing.F) {
	b := ovmftest.BlankVars()[:4096]
	binary.LittleEndian.PutUint64(b[0x20:], 4096)
	binary.LittleEndian.PutUint32(b[0x58:], 4096-0x48)
	f.Add(bytes.Clone(b))
	copy(b[firstVariable:], variable(0x3f, efi.GlobalVariable, "PK", []byte("key")))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		variables, _ := efi.StoredVariables(b)
		for _, v := range variables {
			if len(v.Data) > len(b) {
				t.Fatal("a variable is longer than the volume")
			}
		}
	})
}
