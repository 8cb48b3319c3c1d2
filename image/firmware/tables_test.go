package firmware

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// size is that of both images: the smallest that edk2 lays out.
const size = 1 << 20

// end returns an image of which only the end is right: the last page, in which
// the tables are, is kept in testdata. If the whole image has been built here,
// its end must be the same.
func end(t *testing.T, tee vm.TEE) []byte {
	t.Helper()
	p, err := For(tee)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("testdata", p.File+".end"))
	if err != nil {
		t.Fatal(err)
	}
	if whole, ok := cached(t, tee); ok && !bytes.HasSuffix(whole, page) {
		t.Errorf("%s in the cache does not end in testdata/%s.end", p.File, p.File)
	}
	image := make([]byte, size)
	copy(image[size-len(page):], page)
	return image
}

// cached returns the image from this user's cache, if it was built here.
func cached(t *testing.T, tee vm.TEE) ([]byte, bool) {
	t.Helper()
	p, err := For(tee)
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, false
	}
	return Cached(filepath.Join(base, "secretvm"), p)
}

func TestTablesOfTDX(t *testing.T) {
	image, err := ovmf.Parse(end(t, vm.TDX))
	if err != nil {
		t.Fatal(err)
	}
	want := []ovmf.Section{
		{DataOffset: 0x20000, RawSize: 0xe0000, Address: 0xfff20000, Size: 0xe0000, Type: ovmf.BFV, Attributes: ovmf.MRExtend},
		{DataOffset: 0, RawSize: 0x20000, Address: 0xfff00000, Size: 0x20000, Type: ovmf.CFV},
		{Address: 0x810000, Size: 0x10000, Type: ovmf.TempMem},
		{Address: 0x80b000, Size: 0x2000, Type: ovmf.TempMem},
		{Address: 0x809000, Size: 0x2000, Type: ovmf.TDHOB},
		{Address: 0x800000, Size: 0x6000, Type: ovmf.TempMem},
	}
	if len(image.Sections) != len(want) {
		t.Fatalf("%d sections %+v, want %d", len(image.Sections), image.Sections, len(want))
	}
	for i, s := range image.Sections {
		if s != want[i] {
			t.Errorf("section %d is %+v, want %+v", i, s, want[i])
		}
	}
}

func TestTablesOfSNP(t *testing.T) {
	image := end(t, vm.SNP)
	sev, err := ovmf.ParseSEV(image)
	if err != nil {
		t.Fatal(err)
	}
	want := []ovmf.SEVSection{
		{Address: 0x800000, Size: 0x9000, Type: ovmf.SecMem},
		{Address: 0x80a000, Size: 0x3000, Type: ovmf.SecMem},
		{Address: 0x80d000, Size: 0x1000, Type: ovmf.Secrets},
		{Address: 0x80e000, Size: 0x1000, Type: ovmf.CPUID},
		{Address: 0x80f000, Size: 0x1000, Type: ovmf.CallingArea},
		{Address: 0x811000, Size: 0xf000, Type: ovmf.SecMem},
		{Address: 0x810000, Size: 0x1000, Type: ovmf.KernelHashes},
	}
	if len(sev.Sections) != len(want) {
		t.Fatalf("%d sections %+v, want %d", len(sev.Sections), sev.Sections, len(want))
	}
	for i, s := range sev.Sections {
		if s != want[i] {
			t.Errorf("section %d is %+v, want %+v", i, s, want[i])
		}
	}
	if sev.HashTable != 0x810c00 || sev.ResetEIP == 0 {
		t.Errorf("table of hashes at %#x, application processors start at %#x; want 0x810c00 and an address", sev.HashTable, sev.ResetEIP)
	}
	// The predictor takes it, hashes included.
	if _, err := snp.ParseFirmware(image); err != nil {
		t.Error(err)
	}
}

// The firmware for TDX takes no hashes: SNP must not be started with it.
func TestB6_TablesOfTDXTakeNoHashes(t *testing.T) {
	sev, err := ovmf.ParseSEV(end(t, vm.TDX))
	if err != nil {
		t.Fatal(err)
	}
	if sev.HashTable != 0 {
		t.Errorf("the firmware for TDX has a table of hashes at %#x, and a verifier that takes everything", sev.HashTable)
	}
}
