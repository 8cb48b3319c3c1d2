package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// module is an ELF relocatable file with nothing but a .modinfo section
// (System V gABI, chapter 4): header, .modinfo, section names, section table.
func module(fields ...string) []byte {
	return withNames("\x00.modinfo\x00.shstrtab\x00", fields...)
}

// withNames has a string table of its own; the first name begins at 1, the
// second at 10.
func withNames(table string, fields ...string) []byte {
	info := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte(table)
	const header, section = 64, 64
	infoAt := uint64(header)
	namesAt := infoAt + uint64(len(info))
	tableAt := namesAt + uint64(len(names))
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	le := binary.LittleEndian
	b = le.AppendUint16(b, 1)  // ET_REL
	b = le.AppendUint16(b, 62) // x86-64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, 0) // entry
	b = le.AppendUint64(b, 0) // program headers
	b = le.AppendUint64(b, tableAt)
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{header, 0, 0, section, 3, 2} {
		b = le.AppendUint16(b, n)
	}
	b = append(append(b, info...), names...)
	for _, s := range []struct {
		name, kind uint32
		at, size   uint64
	}{{}, {1, 1, infoAt, uint64(len(info))}, {10, 3, namesAt, uint64(len(names))}} {
		b = le.AppendUint32(b, s.name)
		b = le.AppendUint32(b, s.kind)
		for _, n := range []uint64{0, 0, s.at, s.size, 0, 1, 0} { // flags, address, place, size, link and info, alignment, entry size
			b = le.AppendUint64(b, n)
		}
	}
	return b
}

func TestParseModule(t *testing.T) {
	info, err := ParseModule(module("license=GPL", "name=dm-verity", "depends=dm-mod,dm_bufio", "softdep=pre: sha256 post: later", "vermagic=7.3.4+deb13-amd64 SMP"))
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Name: "dm_verity", Depends: []string{"dm_mod", "dm_bufio"}, Soft: []string{"sha256"}, Version: "7.3.4+deb13-amd64"}
	if fmt.Sprint(info) != fmt.Sprint(want) {
		t.Errorf("module is %v, want %v", info, want)
	}
	for name, b := range map[string][]byte{"nothing": nil, "text": []byte("hello"), "no name": module("license=GPL"), "cut off": module("name=x")[:80]} {
		if _, err := ParseModule(b); err == nil {
			t.Errorf("%s: was read as a module", name)
		}
	}
}

func gz(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func testSet(t *testing.T) *Set {
	t.Helper()
	s := NewSet()
	s.Add("usr/lib/modules/7/modules.builtin", []byte("kernel/crypto/sha256.ko\nkernel/drivers/virtio/virtio-pci.ko\n"))
	for name, depends := range map[string]string{
		"dm-mod": "", "dm-bufio": "dm-mod", "dm-verity": "dm-mod,dm-bufio", "ext4": "jbd2", "jbd2": "", "circle-a": "circle-b", "circle-b": "circle-a", "orphan": "absent",
	} {
		b := gz(t, module("name="+canonical(name), "depends="+depends, "softdep=pre: sha256 not-here"))
		if !s.Add("usr/lib/modules/7/kernel/"+name+".ko.gz", b) {
			t.Fatalf("%s was not taken for a module", name)
		}
	}
	if s.Add("usr/lib/modules/7/config", nil) {
		t.Error("the kernel's configuration was taken for a module")
	}
	return s
}

func TestResolve(t *testing.T) {
	s := testSet(t)
	early, err := s.Resolve([]string{"dm_mod"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		names   []string
		before  []Module
		want    string
		wantErr string
	}{
		{"dependencies first, each once", []string{"dm_verity", "ext4", "dm-bufio"}, nil, "dm-mod dm-bufio dm-verity jbd2 ext4", ""},
		{"what is loaded already", []string{"dm_verity"}, early, "dm-bufio dm-verity", ""},
		{"built in", []string{"virtio_pci", "jbd2"}, nil, "jbd2", ""},
		{"unknown", []string{"nonsense"}, nil, "", "no module nonsense"},
		{"unknown dependency", []string{"orphan"}, nil, "", "no module absent"},
		{"circle", []string{"circle_a"}, nil, "", "depends on itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			modules, err := s.Resolve(c.names, c.before)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error is %v, want one about %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range modules {
				if !strings.HasSuffix(m.Path, ".ko") || len(m.Content) == 0 {
					t.Errorf("module %s is at %s with %d bytes", m.Name, m.Path, len(m.Content))
				}
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(m.Path, "usr/lib/modules/7/kernel/"), ".ko"))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("order is %v, want %s", got, c.want)
			}
		})
	}
}

func FuzzParseModule(f *testing.F) {
	f.Add(module("name=x", "depends=a,b"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ParseModule(b) })
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte("name=x\x00depends=a,b\x00softdep=pre: c post: d\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if info, err := parseInfo(b); err == nil && strings.Contains(info.Name, "-") {
			t.Errorf("name %q is not canonical", info.Name)
		}
	})
}
