package ovmf_test

import (
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
)

func TestParse(t *testing.T) {
	image, err := ovmf.Parse(ovmftest.Image(ovmftest.Sections()))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(image.Sections, ovmftest.Sections()) {
		t.Errorf("sections are %+v", image.Sections)
	}
	// The digest that real machines measure of a blank variable store.
	sum := sha512.Sum384(image.Contents(image.Section(ovmf.CFV)))
	if got := hex.EncodeToString(sum[:8]); got != "344bc51c980ba621" {
		t.Errorf("variable store has the digest %s…, want 344bc51c980ba621…", got)
	}
}

// One defect a row, and the exact error.
func TestParseRefuses(t *testing.T) {
	const end = ovmftest.Size
	put16 := func(back int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[end-back:], v); return b }
	}
	put32 := func(back int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[end-back:], v); return b }
	}
	section := func(i int, change func(*ovmf.Section)) func([]byte) []byte {
		return func([]byte) []byte {
			s := ovmftest.Sections()
			change(&s[i])
			return ovmftest.Image(s)
		}
	}
	const meta = "TDVF metadata: "
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "image has 0 bytes, want whole pages of 4096"},
		{"cut", func(b []byte) []byte { return b[1:] }, "image has 1048575 bytes, want whole pages of 4096"},
		{"huge", func([]byte) []byte { return make([]byte, 65<<20) }, "image has 68157440 bytes, want at most 67108864"},
		{"no table", put32(ovmftest.Footer+2-4, 0), "image has no GUIDed table: found 00000000-1fb2-45f7-baea-a366c55a082d, want 96b582de-1fb2-45f7-baea-a366c55a082d"},
		{"table too short", put16(ovmftest.Footer, 17), "GUIDed table has a length of 17 bytes, want 18 to 1048544"},
		{"table of the footer only", put16(ovmftest.Footer, 18), "GUIDed table has no entry e47a6535-984a-4798-865e-4685a7bf8ec2"},
		{"rest too small", put16(ovmftest.Footer, 63), "GUIDed table: 1 bytes are left, too few for an entry"},
		{"entry too short", put16(ovmftest.TDVFEntry, 17), "GUIDed table: entry e47a6535-984a-4798-865e-4685a7bf8ec2 has a length of 17 bytes, want 18 to 44"},
		{"entry of length 0", put16(ovmftest.TDVFEntry, 0), "GUIDed table: entry e47a6535-984a-4798-865e-4685a7bf8ec2 has a length of 0 bytes, want 18 to 44"},
		{"entry too long", put16(ovmftest.ResetEntry, 23), "GUIDed table: entry 00f771de-1a7e-4fcb-890e-68c77e2fb44e has a length of 23 bytes, want 18 to 22"},
		{"entry twice", func(b []byte) []byte {
			copy(b[end-ovmftest.ResetEntry:], b[end-ovmftest.TDVFEntry:][:18])
			return b
		}, "GUIDed table: entry e47a6535-984a-4798-865e-4685a7bf8ec2 is there twice"},
		{"entry without offset", put16(ovmftest.TDVFEntry, 18), "GUIDed table: entry 4fcb1a7e-0e89-c768-7e2f-b44e00080000 has a length of 247 bytes, want 18 to 26"},
		{"offset 0", put32(ovmftest.TDVFEntry+4, 0), meta + "offset 0x0 from the end is outside the image"},
		{"offset beyond", put32(ovmftest.TDVFEntry+4, 0xffffffff), meta + "offset 0xffffffff from the end is outside the image"},
		{"offset elsewhere", put32(ovmftest.TDVFEntry+4, 0x900), meta + "found "},
		{"signature", put32(ovmftest.Descriptor, 0x46564455), meta + `signature is "UDVF", want TDVF`},
		{"length", put32(ovmftest.Descriptor-4, 16), meta + "length is 16, want 208 for 6 sections"},
		{"version", put32(ovmftest.Descriptor-8, 2), meta + "version is 2, want 1"},
		{"no sections", put32(ovmftest.Descriptor-12, 0), meta + "it has 0 sections, want 1 to 32"},
		{"many sections", put32(ovmftest.Descriptor-12, 0x08000001), meta + "it has 134217729 sections, want 1 to 32"},
		{"no BFV", func([]byte) []byte { return ovmftest.Image(ovmftest.Sections()[1:]) }, meta + "it has 0 BFV sections, want 1"},
		{"two HOBs", section(5, func(s *ovmf.Section) { s.Type = ovmf.TDHOB }), meta + "it has 2 TD_HOB sections, want 1"},
		{"type", section(5, func(s *ovmf.Section) { s.Type = 5 }), meta + "section 5 (type 5): the type is not supported"},
		{"attributes", section(5, func(s *ovmf.Section) { s.Attributes = 4 }), meta + "section 5 (TempMem): attributes are 0x4, of which only bits 0 and 1 are known"},
		{"measured scratch memory", section(5, func(s *ovmf.Section) { s.Attributes = 1 }), meta + "section 5 (TempMem): attributes are 0x1, want 0"},
		{"unmeasured code", section(0, func(s *ovmf.Section) { s.Attributes = 0 }), meta + "section 0 (BFV): attributes are 0x0, want 0x1: the code must be measured"},
		{"measured variables", section(1, func(s *ovmf.Section) { s.Attributes = 1 }), meta + "section 1 (CFV): attributes are 0x1, want 0"},
		{"size 0", section(2, func(s *ovmf.Section) { s.Size = 0 }), meta + "section 2 (TempMem): its memory is empty"},
		{"odd address", section(2, func(s *ovmf.Section) { s.Address++ }), meta + "section 2 (TempMem): memory 0x810001+0x10000 is not whole pages"},
		{"above 4 GiB", section(2, func(s *ovmf.Section) { s.Address = 1 << 63 }), meta + "section 2 (TempMem): memory 0x8000000000000000+0x10000 is not below 4 GiB"},
		{"size overflows", section(2, func(s *ovmf.Section) { s.Size = ^uint64(4095) }), meta + "section 2 (TempMem): memory 0x810000+0xfffffffffffff000 is not below 4 GiB"},
		{"contents of scratch memory", section(2, func(s *ovmf.Section) { s.RawSize = 16 }), meta + "section 2 (TempMem): contents have 0x10 bytes, want none"},
		{"overlap", section(3, func(s *ovmf.Section) { s.Size = 0x6000 }), meta + "section 3 (TempMem) overlaps section 2 (TempMem)"},
		{"CODE without variables", func(b []byte) []byte { return b[ovmftest.VarsSize:] }, meta + "section 0 (BFV): contents 0x84000+0x7c000 overrun the image of 0x7c000 bytes (is this a CODE image without its variables?)"},
		{"contents overflow", section(0, func(s *ovmf.Section) { s.DataOffset = 0xffffffff }), meta + "section 0 (BFV): contents 0xffffffff+0x7c000 overrun the image of 0x100000 bytes"},
		{"contents shorter than memory", section(0, func(s *ovmf.Section) { s.RawSize -= 4096 }), meta + "section 0 (BFV): contents have 0x7b000 bytes, want 0x7c000 as its memory"},
		{"mapped elsewhere", section(1, func(s *ovmf.Section) { s.Address -= 0x84000 }), meta + "section 1 (CFV): address is 0xffe7c000, want 0xfff00000 where the image is mapped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ovmf.Parse(c.change(ovmftest.Image(ovmftest.Sections())))
			if err == nil || !strings.HasPrefix(err.Error(), "parse OVMF image: "+c.want) {
				t.Fatalf("error is %v\nwant     parse OVMF image: %s", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	whole := ovmftest.Image(ovmftest.Sections())
	f.Add(whole[len(whole)-4096:])
	f.Add(make([]byte, 4096))
	f.Fuzz(func(t *testing.T, tail []byte) {
		if len(tail) > 8192 {
			return
		}
		// The interesting bytes are the last ones: the rest is the test's.
		b := slices.Clone(whole)
		copy(b[len(b)-len(tail):], tail)
		image, err := ovmf.Parse(b)
		if err != nil {
			return
		}
		for _, s := range image.Sections {
			if len(image.Contents(s)) != int(s.RawSize) {
				t.Fatalf("section %+v has other contents", s)
			}
		}
	})
}
