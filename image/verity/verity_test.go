package verity

import (
	"bytes"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// pattern is n blocks that all differ.
func pattern(n int) []byte {
	b := make([]byte, n*BlockSize)
	for i := range b {
		b[i] = byte(i>>12) ^ byte(i)
	}
	return b
}

func testSalt() (salt vm.Hash) {
	for i := range salt {
		salt[i] = byte(i)
	}
	return salt
}

// Root hashes as veritysetup 2.7.5 (Debian 13) computes them:
//
//	veritysetup format --no-superblock --salt 000102…1f DATA TREE
func TestBuildAgreesWithVeritysetup(t *testing.T) {
	for _, c := range []struct {
		name   string
		blocks int
		root   string
		tree   int // bytes
	}{
		{"one block", 1, "b9745fe341e07d389b6d9f15707a533883430575f72e0ae47db41f1af82608a6", 0},
		{"two blocks", 2, "096265ed103e83c2cf8c7093f555bbdcf6384176914562d82b4f7e36695c51c7", 4096},
		{"one full hash block", 128, "12516ab9769ffc6239515aca909d0d9b06a688dd261872815ef57d32afb83e0a", 4096},
		{"one more", 129, "ab0395437b7839b3128337cb52ef0f28f635d2308e7ecc7453f0abe2122717d4", 12288},
		{"two levels", 16384, "e2d43865332f4ce9ee78e01035805115f525e8ff31c1480d6f566ec0a5058d56", 528384},
		{"three levels", 16385, "caf0e29fb98affe315a92b7f3fc0bc2386302c3a0aa9a7eafffd7d1bef7cb6dc", 540672},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, err := Build(bytes.NewReader(pattern(c.blocks)), testSalt())
			if err != nil {
				t.Fatal(err)
			}
			if tree.Root.String() != c.root {
				t.Errorf("root hash is %s, veritysetup says %s", tree.Root, c.root)
			}
			if len(tree.Bytes) != c.tree || tree.DataBlocks != int64(c.blocks) {
				t.Errorf("tree has %d bytes over %d blocks, want %d over %d", len(tree.Bytes), tree.DataBlocks, c.tree, c.blocks)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		data    []byte
		wantErr string
	}{
		{"nothing", nil, "no data"},
		{"part of a block", make([]byte, BlockSize+1), "inside of block 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Build(bytes.NewReader(c.data), testSalt()); err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want one about %q", err, c.wantErr)
			}
		})
	}
}

// device is data with its tree, and their description.
func device(t testing.TB, blocks int) ([]byte, vm.Verity) {
	data := pattern(blocks)
	tree, err := Build(bytes.NewReader(data), testSalt())
	if err != nil {
		t.Fatal(err)
	}
	return append(data, tree.Bytes...), vm.Verity{RootHash: tree.Root, Salt: testSalt(), DataBlocks: tree.DataBlocks}
}

func TestB1_CheckFindsEveryFlippedBit(t *testing.T) {
	good, v := device(t, 130)
	if err := Check(bytes.NewReader(good), v); err != nil {
		t.Fatalf("untouched device: %v", err)
	}
	for at := 0; at < len(good); at += 5021 { // hits data, tree and padding
		good[at] ^= 0x10
		if Check(bytes.NewReader(good), v) == nil {
			t.Errorf("a flipped bit in byte %d was not found", at)
		}
		good[at] ^= 0x10
	}
	for name, bad := range map[string][]byte{"cut off": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "one block": good[:BlockSize]} {
		if Check(bytes.NewReader(bad), v) == nil {
			t.Errorf("%s: was not found", name)
		}
	}
}

func FuzzCheck(f *testing.F) {
	good, v := device(f, 3)
	f.Add(good, int64(3))
	f.Fuzz(func(t *testing.T, b []byte, blocks int64) {
		w := v
		w.DataBlocks = blocks
		if err := Check(bytes.NewReader(b), w); err == nil && !bytes.Equal(b, good) {
			t.Error("another device has the same root hash")
		}
	})
}
