package snp

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// sound is a launch with everything in it.
func sound() Launch {
	return Launch{
		Firmware: Firmware{
			Sections: []ovmf.SEVSection{
				{Address: 0x800000, Size: 0x9000, Type: ovmf.SecMem},
				{Address: 0x80d000, Size: 0x1000, Type: ovmf.Secrets},
				{Address: 0x80e000, Size: 0x1000, Type: ovmf.CPUID},
				{Address: 0x80f000, Size: 0x1000, Type: ovmf.CallingArea},
				{Address: 0x810000, Size: 0x1000, Type: ovmf.KernelHashes},
			},
			HashTable: 0x810c00, ResetEIP: 0x80b004,
		},
		Hashes: &Hashes{}, CPUs: 2, CPU: 0x800f12,
	}
}

func TestPredictRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Launch)
		want   string
	}{
		{"no CPU", func(l *Launch) { l.CPUs = 0 }, "0 CPUs"},
		{"too many CPUs", func(l *Launch) { l.CPUs = maxCPUs + 1 }, "513 CPUs"},
		{"nowhere to start", func(l *Launch) { l.Firmware.ResetEIP = 0 }, "does not say where"},
		{"not SNP", func(l *Launch) { l.Features = DebugSwap }, "features 0x20"},
		{"unknown VMM", func(l *Launch) { l.VMM = GCE + 1 }, "VMM 4 is unknown"},
		{"no hash table", func(l *Launch) { l.Firmware.HashTable = 0 }, "takes no hashes"},
		{"no section for hashes", func(l *Launch) { l.Firmware.Sections = l.Firmware.Sections[:4] }, "takes no hashes"},
		{"hash table elsewhere", func(l *Launch) { l.Firmware.HashTable = 0x811c00 }, "is not in the page"},
		{"hash table over the edge", func(l *Launch) { l.Firmware.HashTable = 0x810f80 }, "does not fit"},
		{"section of size 0", func(l *Launch) { l.Firmware.Sections[3].Size = 0 }, "section 3 of the firmware, SVSM_CAA at 0x80f000, is empty"},
		{"half a page", func(l *Launch) { l.Firmware.Sections[0].Size = 0x800 }, "whole pages"},
		{"section of 2 GiB", func(l *Launch) { l.Firmware.Sections[0].Size = 0x80000000 }, "more than 64 MiB"},
		{"section above 4 GiB", func(l *Launch) { l.Firmware.Sections[0].Address = 0xfffff000 }, "above 4 GiB"},
		{"secrets of two pages", func(l *Launch) { l.Firmware.Sections[1].Size = 0x2000 }, "want one page"},
		{"unknown section", func(l *Launch) { l.Firmware.Sections[1].Type = 9 }, "unknown type 0x9"},
		{"many sections", func(l *Launch) { l.Firmware.Sections = make([]ovmf.SEVSection, maxSections+1) }, "65 sections"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := sound()
			if _, err := Predict(l); err != nil {
				t.Fatalf("sound launch: %v", err)
			}
			row.change(&l)
			if _, err := Predict(l); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
		})
	}
}

// TestB6_FirmwareThatTakesNoHashes gives kernel, initrd and command line to a
// firmware that has no place for their hashes, as Debian's plain OVMF: its
// digest would say nothing about what is booted.
func TestB6_FirmwareThatTakesNoHashes(t *testing.T) {
	image := vector(t, "measure", "sev-snp-measure", "ovmf_OvmfX64_suffix.bin")
	firmware, err := ParseFirmware(image)
	if err != nil {
		t.Fatal(err)
	}
	hashes := HashFiles([]byte("kernel"), nil, "")
	if _, err := Predict(Launch{Firmware: firmware, Hashes: &hashes, CPUs: 1}); err == nil || !strings.Contains(err.Error(), "takes no hashes") {
		t.Fatalf("got %v, want a refusal", err)
	}
}

// TestEverythingIsMeasured changes each input by itself: no two launches share
// a digest.
func TestEverythingIsMeasured(t *testing.T) {
	seen := map[vm.Register]string{}
	for name, change := range map[string]func(*Launch){
		"as it is":          func(*Launch) {},
		"firmware":          func(l *Launch) { l.Firmware.Hash[47]++ },
		"section moved":     func(l *Launch) { l.Firmware.Sections[0].Address += pageSize },
		"section longer":    func(l *Launch) { l.Firmware.Sections[0].Size += pageSize },
		"section of a kind": func(l *Launch) { l.Firmware.Sections[1].Type = ovmf.CPUID },
		"sections swapped":  func(l *Launch) { s := l.Firmware.Sections; s[1], s[2] = s[2], s[1] },
		"hash table moved":  func(l *Launch) { l.Firmware.HashTable += 16 },
		"reset vector":      func(l *Launch) { l.Firmware.ResetEIP++ },
		"kernel":            func(l *Launch) { l.Hashes.Kernel[0]++ },
		"initrd":            func(l *Launch) { l.Hashes.Initrd[0]++ },
		"command line":      func(l *Launch) { l.Hashes.CommandLine[0]++ },
		"no hashes":         func(l *Launch) { l.Hashes = nil },
		"one CPU":           func(l *Launch) { l.CPUs-- },
		"CPU model":         func(l *Launch) { l.CPU++ },
		"features":          func(l *Launch) { l.Features = SNPActive | DebugSwap },
		"Amazon":            func(l *Launch) { l.VMM = EC2 },
		"Amazon, of 2023":   func(l *Launch) { l.VMM = EC2Old },
		"Google":            func(l *Launch) { l.VMM = GCE },
	} {
		l := sound()
		change(&l)
		got, err := Predict(l)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[got] = name
	}
}

func TestSignature(t *testing.T) {
	for model, want := range map[string]uint32{
		"EPYC": 0x800f12, "EPYC-v4": 0x800f12, "EPYC-Rome-v2": 0x830f10, "EPYC-Milan": 0xa00f11, "EPYC-Genoa-v1": 0xa10f10, "EPYC-Turin": 0xb00f00,
	} {
		if got, err := Signature(model); err != nil || got != want {
			t.Errorf("%s has signature %#x, %v, want %#x", model, got, err, want)
		}
	}
	for _, model := range []string{"", "epyc", "EPYC-v", "EPYC-vx", "EPYC-v4-v4", "Skylake-Server", "EPYC-v-1"} {
		if got, err := Signature(model); err == nil {
			t.Errorf("model %q has signature %#x, want an error", model, got)
		}
	}
}

// FuzzParseFirmware holds the parser to its bounds on any bytes, padded to a
// page before the reset vector.
func FuzzParseFirmware(f *testing.F) {
	f.Add(tail([]byte("ASEV")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		image := make([]byte, (len(b)+pageSize-1)/pageSize*pageSize)
		copy(image[len(image)-len(b):], b)
		firmware, err := ParseFirmware(image)
		if err != nil {
			return
		}
		if _, err := Predict(Launch{Firmware: firmware, CPUs: 1}); err != nil {
			t.Fatalf("a firmware that was parsed cannot be predicted: %v", err)
		}
	})
}

// tail is an image of one page that ends with metadata and a table that holds
// its offset.
func tail(metadata []byte) []byte {
	guid := [16]byte{0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc}
	footer := [16]byte{0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d}
	const entry, vector = 4 + 18, 32
	b := append([]byte{}, metadata...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(metadata)+entry+18+vector))
	b = binary.LittleEndian.AppendUint16(b, entry)
	b = append(b, guid[:]...)
	b = binary.LittleEndian.AppendUint16(b, entry+18)
	b = append(b, footer[:]...)
	b = append(b, make([]byte, vector)...)
	return append(make([]byte, pageSize-len(b)), b...)
}

func TestParseFirmwareRefuses(t *testing.T) {
	header := func(signature string, words ...uint32) []byte {
		b := []byte(signature)
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	for _, row := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"nothing", nil, "0 bytes"},
		{"no table", make([]byte, pageSize), "no GUIDed table"},
		{"half a page", make([]byte, 100), "whole pages"},
		{"another signature", tail(header("TDVF", 28, 1, 1, 0, 4096, 1)), `"TDVF"`},
		{"another version", tail(header("ASEV", 28, 2, 1, 0, 4096, 1)), "version is 2"},
		{"no section", tail(header("ASEV", 16, 1, 0)), "0 sections"},
		{"4 billion sections", tail(header("ASEV", 28, 1, 0xffffffff)), "4294967295 sections"},
		{"another length", tail(header("ASEV", 40, 1, 1, 0, 4096, 1)), "length is 40"},
		{"32 sections in the space of none", tail(header("ASEV", 16+32*12, 1, 32)), "overrun"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := ParseFirmware(row.image); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
		})
	}
	if f, err := ParseFirmware(tail(header("ASEV", 28, 1, 1, 0, 4096, 1))); err != nil || len(f.Sections) != 1 {
		t.Fatalf("sound image: %+v, %v", f, err)
	}
}

func BenchmarkPredict(b *testing.B) {
	l := sound()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Predict(l); err != nil {
			b.Fatal(err)
		}
	}
}
