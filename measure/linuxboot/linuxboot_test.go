package linuxboot_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/linuxboot"
	"github.com/secretvm/secretvm/measure/linuxboot/linuxboottest"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

const (
	peHeader  = linuxboottest.Header
	peOpt     = linuxboottest.Optional
	peTable   = linuxboottest.Sections
	peHeaders = linuxboottest.HeadersSize
	peCerts   = linuxboottest.Certificate
)

func digest(t *testing.T, b []byte) vm.Register {
	t.Helper()
	h := sha512.New384()
	if err := linuxboot.Authenticode(h, b); err != nil {
		t.Fatal(err)
	}
	return vm.Register(h.Sum(nil))
}

func TestAuthenticodeCovers(t *testing.T) {
	b := linuxboottest.Kernel()
	want := digest(t, b)
	covered := slices.Concat(b[:peOpt+64], b[peOpt+68:peOpt+112+32], b[peOpt+112+40:peCerts])
	if vm.Register(sha512.Sum384(covered)) != want {
		t.Error("the digest is not over headers, sections and trailing bytes in the order of the file")
	}
	for i := range b {
		free := i >= peOpt+64 && i < peOpt+68 || i >= peCerts // checksum, certificates
		changed := slices.Clone(b)
		changed[i] ^= 1
		h := sha512.New384()
		if err := linuxboot.Authenticode(h, changed); err != nil {
			continue
		}
		if same := vm.Register(h.Sum(nil)) == want; same != free {
			t.Errorf("byte %#x: digest unchanged: %v, want %v", i, same, free)
		}
	}
}

func TestAuthenticodeRefuses(t *testing.T) {
	le := binary.LittleEndian
	put32 := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[off:], v); return b }
	}
	put16 := func(off int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint16(b[off:], v); return b }
	}
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "it does not begin with MZ"},
		{"other file", put16(0, 0), "it does not begin with MZ"},
		{"header beyond", put32(0x3c, 0xffffffff), "there is no PE header where the MZ header points"},
		{"headers overlap", put32(0x3c, 0x10), "there is no PE header where the MZ header points"},
		{"no header", put32(peHeader, 0), "there is no PE header where the MZ header points"},
		{"cut in the header", func(b []byte) []byte { return b[:peOpt+100] }, "there is no PE header where the MZ header points"},
		{"machine", put16(peHeader+4, 0x14c), "machine is 0x14c, want x86-64"},
		{"PE32", put16(peOpt, 0x10b), "optional header has the magic 0x10b, want PE32+"},
		{"directories", put32(peOpt+108, 17), "optional header of 160 bytes has no room for 17 data directories"},
		{"small optional header", put16(peHeader+20, 100), "optional header of 100 bytes has no room for 6 data directories"},
		{"no sections", put16(peHeader+6, 0), "it has 0 sections, want 1 to 96"},
		{"many sections", put16(peHeader+6, 0xffff), "it has 65535 sections, want 1 to 96"},
		{"headers too small", put32(peOpt+60, 0x80), "headers have 128 bytes, which the section table overruns"},
		{"headers too large", put32(peOpt+60, 0xffffffff), "headers have 4294967295 bytes"},
		{"gap", put32(peTable+20, peHeaders+0x110), "section 1 begins at 0x310, want 0x300: a gap or an overlap"},
		{"overlap", put32(peTable+20, peHeaders+0xf0), "section 1 begins at 0x2f0, want 0x300: a gap or an overlap"},
		{"section over headers", put32(peTable+40+20, 0), "section 0 begins at 0x0, want 0x200: a gap or an overlap"},
		{"section too long", put32(peTable+16, 0x7fffffff), "section 1 ends at 0x800002ff, behind the file's 0x3a8 bytes"},
		{"certificates too long", put32(peOpt+112+36, 1000), "certificate table has 1000 bytes, where 40 are left"},
		{"certificates elsewhere", put32(peOpt+112+32, 8), "certificate table is not at the end of the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := linuxboot.Authenticode(sha256.New(), c.change(linuxboottest.Kernel()))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want %q", err, c.want)
			}
		})
	}
}

// A distribution signs the very digest that is measured, over another hash:
// with SHA-256 the function must find what Debian's signature says.
func TestAuthenticodeOfSignedKernel(t *testing.T) {
	dir := os.Getenv("SECRETVM_IMAGE")
	if dir == "" {
		t.Skip("SECRETVM_IMAGE does not name a folder with a built image")
	}
	b, err := os.ReadFile(filepath.Join(dir, "vmlinuz"))
	if err != nil {
		t.Fatal(err)
	}
	opt := int(binary.LittleEndian.Uint32(b[0x3c:])) + 24
	certs := b[binary.LittleEndian.Uint32(b[opt+112+32:]):]
	// DigestInfo of SpcIndirectDataContent: AlgorithmIdentifier sha256, OCTET STRING of 32 bytes.
	prefix := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	i := bytes.Index(certs, prefix)
	if i < 0 {
		t.Skip("the kernel is not signed")
	}
	signed := certs[i+len(prefix):][:32]
	h := sha256.New()
	if err := linuxboot.Authenticode(h, b); err != nil {
		t.Fatal(err)
	}
	if got := h.Sum(nil); !bytes.Equal(got, signed) {
		t.Errorf("digest is %x, the signature says %x", got, signed)
	}
}

func TestLoadOptionsVectors(t *testing.T) {
	var table struct {
		Cmdline []struct {
			Text   string      `json:"cmdline"`
			Digest vm.Register `json:"sha384_utf16le_nul"`
		}
	}
	if err := json.Unmarshal(vectors.Read(t, "measure/oasis-cli/expected.json"), &table); err != nil || len(table.Cmdline) != 3 {
		t.Fatalf("%d vectors, error %v", len(table.Cmdline), err)
	}
	for _, v := range table.Cmdline {
		b, err := linuxboot.LoadOptions(v.Text, false, linuxboot.Suffix)
		if err != nil {
			t.Fatal(err)
		}
		if got := vm.Register(sha512.Sum384(b)); got != v.Digest {
			t.Errorf("%q: digest is %s, want %s", v.Text, got, v.Digest)
		}
	}
}

func TestLoadOptions(t *testing.T) {
	for _, c := range []struct {
		name    string
		line    string
		initrd  bool
		token   linuxboot.InitrdToken
		want    string
		wantErr string
	}{
		{"suffix", "a b", true, linuxboot.Suffix, "a b initrd=initrd", ""},
		{"prefix", "a b", true, linuxboot.Prefix, "initrd=initrd a b", ""},
		{"no initrd", "a  b ", false, linuxboot.Prefix, "a  b ", ""},
		{"newline", "a\n", true, linuxboot.Suffix, "", "byte 1 is 0x0a, want printable ASCII only"},
		{"not ASCII", "ä", true, linuxboot.Suffix, "", "byte 0 is 0xc3, want printable ASCII only"},
		{"long", strings.Repeat("x", 2048), true, linuxboot.Suffix, "", "2048 bytes, want at most 2047"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := linuxboot.LoadOptions(c.line, c.initrd, c.token)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("error is %v, want %q", err, c.wantErr)
				}
				return
			}
			var want []byte
			for _, r := range c.want + "\x00" {
				want = append(want, byte(r), 0)
			}
			if err != nil || !bytes.Equal(b, want) {
				t.Errorf("load options are %q, want %q (error %v)", b, want, err)
			}
		})
	}
}

func FuzzAuthenticode(f *testing.F) {
	f.Add(linuxboottest.Kernel())
	f.Fuzz(func(t *testing.T, b []byte) {
		a := sha256.New()
		if linuxboot.Authenticode(a, b) != nil {
			return
		}
		changed := slices.Clone(b)
		changed[0x3b] ^= 1 // in the headers, always covered
		c := sha256.New()
		if linuxboot.Authenticode(c, changed) == nil && bytes.Equal(a.Sum(nil), c.Sum(nil)) {
			t.Fatal("a change in the headers does not show")
		}
	})
}
