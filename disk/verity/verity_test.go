package verity

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

var (
	rootHex = strings.Repeat("1a", 32)
	saltHex = strings.Repeat("00", 32)
	line    = "console=ttyS0 panic=-1 secretvm.verity=" + rootHex + " secretvm.salt=" + saltHex + " secretvm.blocks=300"
)

func TestParseCommandLine(t *testing.T) {
	tests := []struct {
		name, line, wantErr string
	}{
		{"plain", line + "\n", ""},
		{"foreign parameters do not matter", "a.secretvm.verity=1 " + line, ""},
		{"empty", "", "secretvm.verity: SHA-256 digest has 0 characters"},
		{"upper case", strings.ReplaceAll(line, "1a", "1A"), "lower-case hex digits only"},
		{"short root hash", strings.Replace(line, rootHex, rootHex[2:], 1), "has 62 characters"},
		{"zero root hash", strings.Replace(line, rootHex, saltHex, 1), "root hash is zero"},
		{"no salt", strings.Replace(line, "secretvm.salt", "salt", 1), "secretvm.salt: SHA-256 digest has 0 characters"},
		{"root hash twice", line + " secretvm.verity=" + rootHex, "secretvm.verity stands there twice"},
		{"unknown parameter", line + " secretvm.debug=1", "unknown parameter secretvm.debug"},
		{"blocks in hex", strings.Replace(line, "300", "0x300", 1), `secretvm.blocks is "0x300"`},
		{"blocks with a zero in front", strings.Replace(line, "300", "0300", 1), `secretvm.blocks is "0300"`},
		{"negative blocks", strings.Replace(line, "300", "-300", 1), "-300 data blocks"},
		{"one block", strings.Replace(line, "300", "1", 1), "1 data blocks"},
		{"too many blocks", strings.Replace(line, "300", "4294967297", 1), "want 2 to 4294967296"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := ParseCommandLine(tt.line)
			checkErr(t, err, tt.wantErr)
			if tt.wantErr == "" && (v.RootHash.String() != rootHex || v.DataBlocks != 300) {
				t.Errorf("read %+v", v)
			}
		})
	}
}

// FuzzParseCommandLine: what is accepted is within bounds and has one spelling.
func FuzzParseCommandLine(f *testing.F) {
	f.Add(line)
	f.Add("secretvm.verity= secretvm.salt secretvm.blocks=-1")
	f.Fuzz(func(t *testing.T, line string) {
		v, err := ParseCommandLine(line)
		if err != nil {
			return
		}
		if validate(v) != nil || !strings.Contains(line, "secretvm.verity="+v.RootHash.String()) ||
			!strings.Contains(line, "secretvm.blocks="+strconv.FormatInt(v.DataBlocks, 10)) {
			t.Errorf("%q gave %+v", line, v)
		}
	})
}

// build returns a disk of n data blocks with its tree, made here the plain way:
// level by level from the bottom, written top first.
func build(n int64, salt vm.Hash) ([]byte, vm.Hash) {
	data := make([]byte, n*BlockSize)
	for i := range data {
		data[i] = byte(i / 7)
	}
	var levels [][]byte
	for level := data; len(level) > BlockSize; {
		var up []byte
		for at := 0; at < len(level); at += BlockSize {
			h := sha256.Sum256(append(salt[:], level[at:at+BlockSize]...))
			up = append(up, h[:]...)
		}
		up = append(up, make([]byte, (BlockSize-len(up)%BlockSize)%BlockSize)...)
		levels = append(levels, up)
		level = up
	}
	disk := data
	for i := len(levels) - 1; i >= 0; i-- {
		disk = append(disk, levels[i]...)
	}
	return disk, sha256.Sum256(append(salt[:], levels[len(levels)-1]...))
}

func TestB1_CheckFindsWrongDisk(t *testing.T) {
	salt := vm.HashOf([]byte("salt"))
	disk, root := build(300, salt)
	v := vm.Verity{RootHash: root, Salt: salt, DataBlocks: 300}
	if want := int64(len(disk)) / BlockSize; 300+TreeBlocks(300) != want {
		t.Fatalf("tree of 300 blocks has %d, want %d", TreeBlocks(300), want-300)
	}
	top := 300 * BlockSize
	tests := []struct {
		name    string
		damage  func(disk []byte, v *vm.Verity) []byte
		wantErr string
	}{
		{"whole", func(d []byte, _ *vm.Verity) []byte { return d }, ""},
		{"longer", func(d []byte, _ *vm.Verity) []byte { return append(d, 0) }, ""},
		{"short by one byte", func(d []byte, _ *vm.Verity) []byte { return d[:len(d)-1] }, "want at least 1245184"},
		{"bit flipped in the top of the tree", func(d []byte, _ *vm.Verity) []byte { d[top] ^= 1; return d }, "does not belong to the measured command line"},
		{"other root hash", func(d []byte, v *vm.Verity) []byte { v.RootHash[0] ^= 1; return d }, "dm-verity root hash is"},
		{"other salt", func(d []byte, v *vm.Verity) []byte { v.Salt[31] ^= 1; return d }, "[image-not-allowed]"},
		{"other length", func(d []byte, v *vm.Verity) []byte { v.DataBlocks--; return d }, "[image-not-allowed]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := v
			disk := tt.damage(bytes.Clone(disk), &v)
			checkErr(t, Check(bytes.NewReader(disk), int64(len(disk)), v), tt.wantErr)
		})
	}
}

func TestTreeBlocks(t *testing.T) {
	for data, want := range map[int64]int64{2: 1, 128: 1, 129: 3, 16384: 129, 16385: 132} {
		if got := TreeBlocks(data); got != want {
			t.Errorf("tree over %d blocks has %d, want %d", data, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	v, err := ParseCommandLine(line)
	if err != nil {
		t.Fatal(err)
	}
	got := table("/dev/vda", v)
	want := "1 /dev/vda /dev/vda 4096 4096 300 300 sha256 " + rootHex + " " + saltHex + " 2 panic_on_corruption panic_on_error"
	if got.Type != "verity" || got.Sectors != 2400 || string(got.Params) != want {
		t.Errorf("table is %d %s %s, want 2400 verity %s", got.Sectors, got.Type, got.Params, want)
	}
	for _, forbidden := range []string{"ignore_corruption", "check_at_most_once"} {
		if strings.Contains(string(got.Params), forbidden) {
			t.Errorf("table has %s", forbidden)
		}
	}
}

// TestAgainstVeritysetup compares layout and root hash with the usual tool.
func TestAgainstVeritysetup(t *testing.T) {
	tool, err := exec.LookPath("veritysetup")
	if err != nil {
		t.Skip("veritysetup is not installed: layout not compared with it")
	}
	salt := vm.HashOf([]byte("salt"))
	want, root := build(300, salt)
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, want[:300*BlockSize], 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "format", "--no-superblock", "--data-blocks=300", "--hash-offset="+strconv.Itoa(300*BlockSize),
		"--salt="+salt.String(), path, path).CombinedOutput()
	if err != nil {
		t.Fatalf("veritysetup: %v\n%s", err, out)
	}
	match := regexp.MustCompile(`Root hash:\s+([0-9a-f]{64})`).FindSubmatch(out)
	if match == nil || string(match[1]) != root.String() {
		t.Errorf("veritysetup says\n%swant root hash %s", out, root)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
		t.Error("veritysetup lays the tree out differently")
	}
}

func checkErr(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatalf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Fatalf("error is %v, want one with %q", err, want)
	}
}
