package luks

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/xts"
)

// direct runs commands as any process but PID 1 may.
type direct struct{}

func (direct) Run(_ context.Context, cmd *exec.Cmd) ([]byte, error) { return cmd.CombinedOutput() }

// split is the inverse of merge, written from the specification.
func splitKey(t *testing.T, key VolumeKey) []byte {
	t.Helper()
	out := make([]byte, stripes*len(key))
	if _, err := rand.Read(out); err != nil {
		t.Fatal(err)
	}
	var state [64]byte
	for s := range stripes - 1 {
		subtle.XORBytes(state[:], state[:], out[s*64:(s+1)*64])
		for i := range 2 {
			sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, uint32(i)), state[i*32:(i+1)*32]...))
			copy(state[i*32:], sum[:])
		}
	}
	subtle.XORBytes(out[(stripes-1)*64:], state[:], key[:])
	return out
}

// makeArea writes a header as cryptsetup would, from given metadata.
func makeArea(t testing.TB, meta any, material []byte) []byte {
	t.Helper()
	text, err := json.Marshal(meta)
	if err != nil {
		t.Fatal(err)
	}
	area := make([]byte, metadataSize)
	for i, magic := range [][]byte{magicPrimary, magicSecondary} {
		c := area[i*headerSize : (i+1)*headerSize]
		copy(c, magic)
		binary.BigEndian.PutUint16(c[offVersion:], 2)
		binary.BigEndian.PutUint64(c[offSize:], headerSize)
		binary.BigEndian.PutUint64(c[offSequence:], 3)
		copy(c[offChecksumAlg:], "sha256")
		c[offSalt] = byte(i)
		copy(c[offUUID:], "0633706e-fb83-4d63-8cc2-a82ae952e4fd")
		binary.BigEndian.PutUint64(c[offPosition:], uint64(i*headerSize))
		copy(c[binarySize:], text)
		seal(c)
	}
	copy(area[keyslotOffset:], material)
	return area
}

func seal(c []byte) {
	clear(c[offChecksum:offPadding2])
	sum := sha256.Sum256(c)
	copy(c[offChecksum:], sum[:])
}

func testDisk(t *testing.T, key Key) ([]byte, VolumeKey) {
	t.Helper()
	var volume VolumeKey
	_, _ = rand.Read(volume[:])
	keySalt, digestSalt := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	slotKey, _ := pbkdf2.Key(sha256.New, string(key[:]), keySalt, iterations, 64)
	sum, _ := pbkdf2.Key(sha256.New, string(volume[:]), digestSalt, iterations, 32)
	c, err := xts.NewCipher(aes.NewCipher, slotKey)
	if err != nil {
		t.Fatal(err)
	}
	material := splitKey(t, volume)
	for s := range len(material) / 512 {
		c.Encrypt(material[s*512:(s+1)*512], material[s*512:(s+1)*512], uint64(s))
	}
	return makeArea(t, fixed(keySalt, digestSalt, sum), material), volume
}

func TestUnlock(t *testing.T) {
	key := Key{1, 2, 3}
	area, want := testDisk(t, key)
	h, err := Read(bytes.NewReader(area))
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Unlock(key)
	if err != nil || *got != want {
		t.Fatalf("unlock gave error %v or another volume key", err)
	}
	if _, err := h.Unlock(Key{9}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("unlock with another key: %v, want ErrWrongKey", err)
	}
	area[keyslotOffset+100_000] ^= 1
	h, err = Read(bytes.NewReader(area))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Unlock(key); !errors.Is(err, ErrWrongKey) {
		t.Errorf("unlock of a damaged key slot: %v, want ErrWrongKey", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	for _, s := range []string{
		fmt.Sprintf("%v %s %x %#v %+v", Key{0xab}, Key{0xab}, Key{0xab}, Key{0xab}, struct{ K Key }{Key{0xab}}),
		fmt.Sprintf("%v %s %x %#v", VolumeKey{0xab}, VolumeKey{0xab}, &VolumeKey{0xab}, VolumeKey{0xab}),
	} {
		if strings.Contains(s, "171") || strings.Contains(s, "ab") || strings.Contains(s, "0xab") {
			t.Errorf("a key printed as %q", s)
		}
	}
}

// TestD2_MaliciousHeader: whatever a header says that ours do not is refused,
// although its checksums hold.
func TestD2_MaliciousHeader(t *testing.T) {
	type edit = func(root map[string]any)
	at := func(root map[string]any, path ...string) map[string]any {
		for _, p := range path {
			root = root[p].(map[string]any)
		}
		return root
	}
	for _, tt := range []struct {
		name    string
		edit    edit
		wantErr string
	}{
		{"null cipher of the payload", func(r map[string]any) { at(r, "segments", "0")["encryption"] = "cipher_null-ecb" }, "segments"},
		{"null cipher of the key slot", func(r map[string]any) { at(r, "keyslots", "0", "area")["encryption"] = "cipher_null-ecb" }, "key slots"},
		{"another offset", func(r map[string]any) { at(r, "segments", "0")["offset"] = "33554432" }, "segments"},
		{"a fixed size", func(r map[string]any) { at(r, "segments", "0")["size"] = "4096" }, "segments"},
		{"another iv tweak", func(r map[string]any) { at(r, "segments", "0")["iv_tweak"] = "8" }, "segments"},
		{"small sectors", func(r map[string]any) { at(r, "segments", "0")["sector_size"] = 512 }, "segments"},
		{"linear segment", func(r map[string]any) { at(r, "segments", "0")["type"] = "linear" }, "segments"},
		{"second segment", func(r map[string]any) { at(r, "segments")["1"] = at(r, "segments", "0") }, "segments"},
		{"integrity", func(r map[string]any) { at(r, "segments", "0")["integrity"] = map[string]any{"type": "none"} }, "unknown field"},
		{"segment flags", func(r map[string]any) { at(r, "segments", "0")["flags"] = []string{"backup-final"} }, "unknown field"},
		{"second key slot", func(r map[string]any) { at(r, "keyslots")["1"] = at(r, "keyslots", "0") }, "key slots"},
		{"no key slot", func(r map[string]any) { r["keyslots"] = map[string]any{} }, "key slots"},
		{"costly key derivation", func(r map[string]any) { at(r, "keyslots", "0", "kdf")["iterations"] = 1 << 30 }, "key slots"},
		{"cheap key derivation", func(r map[string]any) { at(r, "keyslots", "0", "kdf")["iterations"] = 1 }, "key slots"},
		{"argon2", func(r map[string]any) { at(r, "keyslots", "0", "kdf")["memory"] = 1 << 20 }, "unknown field"},
		{"short key", func(r map[string]any) { at(r, "keyslots", "0")["key_size"] = 16 }, "key slots"},
		{"priority", func(r map[string]any) { at(r, "keyslots", "0")["priority"] = 2 }, "unknown field"},
		{"reencryption slot", func(r map[string]any) { at(r, "keyslots", "0")["mode"] = "reencrypt" }, "unknown field"},
		{"one stripe", func(r map[string]any) { at(r, "keyslots", "0", "af")["stripes"] = 1 }, "key slots"},
		{"token", func(r map[string]any) { at(r, "tokens")["0"] = map[string]any{"type": "x", "keyslots": []string{}} }, "tokens"},
		{"no tokens object", func(r map[string]any) { delete(r, "tokens") }, "tokens"},
		{"second digest", func(r map[string]any) { at(r, "digests")["1"] = at(r, "digests", "0") }, "digests"},
		{"digest of no segment", func(r map[string]any) { at(r, "digests", "0")["segments"] = []string{} }, "digests"},
		{"short digest", func(r map[string]any) { at(r, "digests", "0")["digest"] = "AAAA" }, "want 32 each"},
		{"empty digest", func(r map[string]any) { at(r, "digests", "0")["digest"] = "" }, "want 32 each"},
		{"short salt", func(r map[string]any) { at(r, "keyslots", "0", "kdf")["salt"] = "AAAA" }, "want 32 each"},
		{"requirements", func(r map[string]any) {
			at(r, "config")["requirements"] = map[string]any{"mandatory": []string{"online-reencrypt"}}
		}, "unknown field"},
		{"config flags", func(r map[string]any) { at(r, "config")["flags"] = []string{"allow-discards"} }, "unknown field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, _ := json.Marshal(fixed(make([]byte, 32), make([]byte, 32), make([]byte, 32)))
			var root map[string]any
			if err := json.Unmarshal(text, &root); err != nil {
				t.Fatal(err)
			}
			tt.edit(root)
			_, err := Parse(makeArea(t, root, nil))
			if !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want ErrHeader with %q", err, tt.wantErr)
			}
		})
	}
}

// TestD1_DamagedHeader: damage anywhere in either copy is an error, and
// reading never writes.
func TestD1_DamagedHeader(t *testing.T) {
	good, _ := testDisk(t, Key{})
	for _, tt := range []struct {
		name    string
		edit    func(b []byte)
		wantErr string
	}{
		{"magic", func(b []byte) { b[0] ^= 1 }, "first copy"},
		{"second magic", func(b []byte) { b[headerSize] ^= 1 }, "second copy"},
		{"zeroed first copy", func(b []byte) { clear(b[:headerSize]) }, "first copy"},
		{"zeroed second copy", func(b []byte) { clear(b[headerSize : 2*headerSize]) }, "second copy"},
		{"one bit of the JSON", func(b []byte) { b[binarySize+10] ^= 1 }, "checksum does not hold"},
		{"one bit of the second JSON", func(b []byte) { b[headerSize+binarySize+10] ^= 1 }, "checksum does not hold"},
		{"checksum", func(b []byte) { b[offChecksum] ^= 1 }, "checksum does not hold"},
		{"tail of the checksum", func(b []byte) { b[offChecksum+40] = 1 }, "checksum does not hold"},
		{"version", func(b []byte) { b[offVersion+1] = 1 }, "version"},
		{"size", func(b []byte) { b[offSize+7] = 1 }, "size"},
		{"position", func(b []byte) { b[offPosition+7] = 1 }, "position"},
		{"checksum algorithm", func(b []byte) { b[offChecksumAlg] = 'x' }, "checksum is"},
		{"label", func(b []byte) { b[offLabel] = 'x'; seal(b[:headerSize]) }, "label"},
		{"subsystem", func(b []byte) { b[offSubsystem] = 'x'; seal(b[:headerSize]) }, "label"},
		{"padding", func(b []byte) { b[offPadding] = 1; seal(b[:headerSize]) }, "padding"},
		{"sequence", func(b []byte) { b[offSequence+7]++; seal(b[:headerSize]) }, "copies differ"},
		{"uuid", func(b []byte) { b[offUUID]++; seal(b[:headerSize]) }, "copies differ"},
		{"garbage after the JSON", func(b []byte) { b[headerSize-1] = 1; seal(b[:headerSize]) }, "does not end in zeros"},
		{"JSON fills its area", func(b []byte) {
			for i := binarySize; i < headerSize; i++ {
				b[i] = ' '
			}
			seal(b[:headerSize])
		}, "does not end in zeros"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(good)
			tt.edit(b)
			before := bytes.Clone(b)
			_, err := Read(bytes.NewReader(b))
			if !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, want ErrHeader with %q", err, tt.wantErr)
			}
			if !bytes.Equal(b, before) {
				t.Error("reading changed the disk")
			}
		})
	}
	if _, err := Read(bytes.NewReader(good[:1000])); err == nil || errors.Is(err, ErrHeader) {
		t.Errorf("a disk that ends early: %v, want a read error", err)
	}
}

// TestCryptsetup holds this package and cryptsetup against each other: its
// header opens here, and ours is one that it accepts.
func TestCryptsetup(t *testing.T) {
	tool, err := exec.LookPath("cryptsetup")
	if err != nil {
		if _, statErr := os.Stat("/usr/sbin/cryptsetup"); statErr != nil {
			t.Skip("cryptsetup is not installed (Debian package cryptsetup-bin)")
		}
		tool = "/usr/sbin/cryptsetup"
	}
	key := Key{7, 7, 7}
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(PayloadOffset + 1<<20); err != nil {
		t.Fatal(err)
	}
	_, made, err := Format(t.Context(), direct{}, tool, f, key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.Unlock(key); err != nil || *again != *made {
		t.Fatalf("unlock what cryptsetup made: %v, or another volume key", err)
	}
	// cryptsetup agrees about the key, and about the volume key's digest.
	for _, tt := range []struct {
		name string
		key  Key
		ok   bool
	}{{"right key", key, true}, {"wrong key", Key{}, false}} {
		cmd := exec.Command(tool, "open", "--test-passphrase", "--key-file", "-", "--keyfile-size", "32", path)
		cmd.Stdin = bytes.NewReader(tt.key[:])
		if out, err := cmd.CombinedOutput(); (err == nil) != tt.ok {
			t.Errorf("cryptsetup with the %s: %v: %s", tt.name, err, out)
		}
	}
	before, _ := os.ReadFile(path)
	if _, _, err := Format(t.Context(), direct{}, tool, f, key); err == nil || !strings.Contains(err.Error(), "not blank") {
		t.Errorf("format over a formatted disk: %v, want a refusal", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a refused format changed the disk")
	}
	ours, volume := testDisk(t, key)
	full := append(ours, make([]byte, PayloadOffset+1<<20-len(ours))...)
	if err := os.WriteFile(path, full, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "luksDump", "--dump-volume-key", "--batch-mode", "--key-file", "-", "--keyfile-size", "32", path)
	cmd.Stdin = bytes.NewReader(key[:])
	out, err := cmd.CombinedOutput()
	hexdump := strings.ReplaceAll(strings.Join(strings.Fields(string(out)), ""), ":", "")
	if err != nil || !strings.Contains(hexdump, fmt.Sprintf("%x", volume[:])) {
		t.Errorf("cryptsetup reads another volume key from our header: %v", err)
	}
}

func TestBlank(t *testing.T) {
	zeros := make([]byte, PayloadOffset)
	if blank, err := Blank(bytes.NewReader(zeros)); err != nil || !blank {
		t.Errorf("zeros: %v, %v", blank, err)
	}
	zeros[PayloadOffset-1] = 1
	if blank, err := Blank(bytes.NewReader(zeros)); err != nil || blank {
		t.Errorf("last byte set: %v, %v", blank, err)
	}
	if _, err := Blank(bytes.NewReader(zeros[:100])); err == nil {
		t.Error("a short disk: no error")
	}
}

func TestTable(t *testing.T) {
	var key VolumeKey
	key[0] = 0xab
	got, err := table("/dev/vdc", PayloadOffset+10_000, &key)
	if err != nil {
		t.Fatal(err)
	}
	want := "aes-xts-plain64 ab" + strings.Repeat("00", 63) + " 0 /dev/vdc 32768 3 sector_size:4096 no_read_workqueue no_write_workqueue"
	if string(got.Params) != want || got.Sectors != 16 || !got.Secret || got.Type != "crypt" {
		t.Errorf("table is %d %s %q", got.Sectors, got.Type, got.Params)
	}
	if _, err := table("/dev/vdc", PayloadOffset+100, &key); err == nil {
		t.Error("a disk without payload: no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(makeArea(f, fixed(make([]byte, 32), make([]byte, 32), make([]byte, 32)), nil)[:2*headerSize])
	f.Add([]byte("LUKS\xba\xbe"))
	f.Fuzz(func(t *testing.T, b []byte) {
		area := make([]byte, metadataSize)
		copy(area, b)
		for _, c := range [][]byte{area[:headerSize], area[headerSize : 2*headerSize]} {
			seal(c) // or nothing behind the checksum would ever be reached
		}
		h, err := Parse(area)
		if err == nil && (len(h.keySalt) != 32 || len(h.digest) != 32) {
			t.Error("accepted a header without salt or digest")
		}
	})
}
