package secretnetwork

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSIVVectors are the two of RFC 5297, appendix A.
func TestSIVVectors(t *testing.T) {
	for _, tt := range []struct {
		name, key, plain, want string
		data                   []string
	}{
		{
			"A.1", "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "112233445566778899aabbccddee",
			"85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
			[]string{"101112131415161718191a1b1c1d1e1f2021222324252627"},
		},
		{
			"A.2", "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
			"7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
			"7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
			[]string{
				"00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100", "102030405060708090a0",
				"09f911029d74e35bd84156c5635688c0",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var data [][]byte
			for _, d := range tt.data {
				data = append(data, unhex(t, d))
			}
			key, plain := unhex(t, tt.key), unhex(t, tt.plain)
			sealed, err := seal(key, plain, data...)
			if err != nil || hex.EncodeToString(sealed) != tt.want {
				t.Fatalf("sealed is %x, %v, want %s", sealed, err, tt.want)
			}
			if back, err := open(key, sealed, data...); err != nil || !bytes.Equal(back, plain) {
				t.Errorf("opened is %x, %v", back, err)
			}
			if _, err := open(key, sealed, append(data, nil)...); err == nil {
				t.Error("an empty item more makes no difference")
			}
			for i := range sealed {
				bad := bytes.Clone(sealed)
				bad[i] ^= 0x10
				if _, err := open(key, bad, data...); err == nil {
					t.Fatalf("byte %d may be changed", i)
				}
			}
		})
	}
	if _, err := seal(make([]byte, 16), nil); err == nil {
		t.Error("a key of 16 bytes is accepted")
	}
	if _, err := open(make([]byte, 32), make([]byte, 15)); err == nil {
		t.Error("15 bytes are opened")
	}
}

// FuzzOpen: whatever opens is what seal makes.
func FuzzOpen(f *testing.F) {
	key := bytes.Repeat([]byte{7}, 32)
	for _, plain := range []string{"", "a", "0123456789abcdef", "0123456789abcdefg", "a longer text than two blocks of sixteen"} {
		sealed, err := seal(key, []byte(plain), noData)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		plain, err := open(key, sealed, noData)
		if err != nil {
			return
		}
		if again, err := seal(key, plain, noData); err != nil || !bytes.Equal(again, sealed) {
			t.Errorf("%x opens as %x, which seals as %x", sealed, plain, again)
		}
	})
}
