package tdx_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/measure/ovmf/ovmftest"
	"github.com/secretvm/secretvm/measure/tdx"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

func parse(t testing.TB) *ovmf.Image {
	t.Helper()
	image, err := ovmf.Parse(ovmftest.Image(ovmftest.Sections()))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// An independent reading of the specification: the whole stream at once, pages
// first listed and then written.
func TestMRTD(t *testing.T) {
	image := parse(t)
	raw := ovmftest.Image(ovmftest.Sections())
	record := func(name string, gpa uint64) []byte {
		b := append([]byte(name), make([]byte, 128-len(name))...)
		binary.LittleEndian.PutUint64(b[16:24], gpa)
		return b
	}
	build := func(twoPass bool) vm.Register {
		var stream, later bytes.Buffer
		for _, s := range ovmftest.Sections() {
			for page := range s.Size / 4096 {
				gpa := s.Address + page*4096
				stream.Write(record("MEM.PAGE.ADD", gpa))
				if s.Type != ovmf.BFV {
					continue
				}
				out := &stream
				if twoPass {
					out = &later
				}
				for chunk := range uint64(16) {
					from := uint64(s.DataOffset) + page*4096 + chunk*256
					out.Write(record("MR.EXTEND", gpa+chunk*256))
					out.Write(raw[from : from+256])
				}
			}
			stream.Write(later.Bytes())
			later.Reset()
		}
		return sha512.Sum384(stream.Bytes())
	}
	if got, want := tdx.MRTD(image, tdx.SinglePass), build(false); got != want {
		t.Errorf("single pass: MRTD is %s, want %s", got, want)
	}
	if got, want := tdx.MRTD(image, tdx.TwoPass), build(true); got != want {
		t.Errorf("two passes: MRTD is %s, want %s", got, want)
	}
}

// The firmware of a built image: both digests were computed by another
// implementation (Debian 13 ovmf 2025.02-8+deb13u1).
func TestMRTDOfDebianFirmware(t *testing.T) {
	dir := os.Getenv("SECRETVM_IMAGE")
	if dir == "" {
		t.Skip("SECRETVM_IMAGE does not name a folder with a built image")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "OVMF.fd"))
	if err != nil {
		t.Fatal(err)
	}
	if h := vm.HashOf(raw).String(); !strings.HasPrefix(h, "14954040") {
		t.Skipf("the image has another firmware (SHA-256 %s)", h)
	}
	image, err := ovmf.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := tdx.MRTD(image, tdx.SinglePass).String(); !strings.HasPrefix(got, "bdc6fb145880") {
		t.Errorf("single pass: MRTD is %s", got)
	}
	if got := tdx.MRTD(image, tdx.TwoPass).String(); !strings.HasPrefix(got, "456f07902150") {
		t.Errorf("two passes: MRTD is %s", got)
	}
}

func TestHOBVectors(t *testing.T) {
	var table struct {
		TDHOB []struct {
			MemoryMiB uint64      `json:"memory_mib"`
			Digest    vm.Register `json:"td_hob_sha384"`
		} `json:"td_hob"`
	}
	if err := json.Unmarshal(vectors.Read(t, "measure/oasis-cli/expected.json"), &table); err != nil || len(table.TDHOB) != 15 {
		t.Fatalf("%d vectors, error %v", len(table.TDHOB), err)
	}
	for _, v := range table.TDHOB {
		hob, err := tdx.HOB(parse(t), v.MemoryMiB<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got := vm.Register(sha512.Sum384(hob)); got != v.Digest {
			t.Errorf("%d MiB: digest is %s, want %s", v.MemoryMiB, got, v.Digest)
		}
	}
}

func TestHOBNeedsItsSectionsInMemory(t *testing.T) {
	_, err := tdx.HOB(parse(t), 8<<20)
	if err == nil || !strings.Contains(err.Error(), "is outside 8388608 bytes of memory") {
		t.Errorf("error is %v", err)
	}
}
