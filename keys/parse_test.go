package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

func TestIDValidate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*ID)
		wantErr string
	}{
		{"good", func(*ID) {}, ""},
		{"service scope", func(id *ID) { id.Scope = ScopeService }, ""},
		{"app key", func(id *ID) { id.Name = "app/db/main" }, ""},
		{"signing key", func(id *ID) { id.Name = "sign/ed25519" }, ""},
		{"no owner", func(id *ID) { id.Service = "web" }, "service"},
		{"upper case", func(id *ID) { id.Service = "svm1Owner/web" }, "service"},
		{"line break", func(id *ID) { id.Service += "\n" }, "service"},
		{"short instance", func(id *ID) { id.Scope = "instance:00" }, "scope"},
		{"other scope", func(id *ID) { id.Scope = "world" }, "scope"},
		{"unknown name", func(id *ID) { id.Name = "root" }, "name"},
		{"empty path", func(id *ID) { id.Name = "app/" }, "name"},
		{"long path", func(id *ID) { id.Name = "app/" + strings.Repeat("a", 300) }, "name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := testID
			tt.change(&id)
			err := id.Validate()
			if tt.wantErr == "" {
				if err != nil {
					t.Fatal(err)
				}
				again, err := ParseID(id.Encode())
				if err != nil || again != id {
					t.Fatalf("read back as %v, %v", again, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want one about %s", err, tt.wantErr)
			}
			if _, err := ParseID(id.Encode()); err == nil {
				t.Fatal("its encoding was accepted")
			}
		})
	}
	if testID.Instance() != uid || (ID{Scope: ScopeService}).Instance() != "" {
		t.Error("the instance of a scope is wrong")
	}
}

// TestIDEncodingIsInjective: bytes cannot move from one part to the next.
func TestIDEncodingIsInjective(t *testing.T) {
	a := ID{Service: "ab", Scope: "c"}.Encode()
	b := ID{Service: "a", Scope: "bc"}.Encode()
	if bytes.Equal(a, b) {
		t.Fatal("two IDs have one encoding")
	}
}

func TestParsePublicKey(t *testing.T) {
	c, _, err := Split(rand.Reader, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	good := c.GroupKey().Bytes()
	infinity := append([]byte{0xc0}, make([]byte, PublicKeySize-1)...)
	raw := c[0].point.RawBytes()
	var outside []byte // a point of the curve that is not in the subgroup
	for i := byte(0); outside == nil; i++ {
		b := bytes.Clone(good)
		b[PublicKeySize-1] = i
		var p bls.G2Affine
		if err := bls.NewDecoder(bytes.NewReader(b), bls.NoSubgroupChecks()).Decode(&p); err == nil && p.IsOnCurve() && !p.IsInSubGroup() {
			outside = b
		}
	}
	for _, tt := range []struct {
		name  string
		input []byte
		ok    bool
	}{
		{"good", good, true},
		{"infinity", infinity, false},
		{"uncompressed", raw[:], false},
		{"empty", nil, false},
		{"trailing", append(bytes.Clone(good), 0), false},
		{"outside the subgroup", outside, false},
		{"zero", make([]byte, PublicKeySize), false},
		{"ones", bytes.Repeat([]byte{0xff}, PublicKeySize), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParsePublicKey(tt.input)
			if (err == nil) != tt.ok {
				t.Fatalf("error is %v, want success: %t", err, tt.ok)
			}
			if tt.ok && !k.Equal(c.GroupKey()) {
				t.Fatal("another key was read")
			}
		})
	}
	if _, err := ParsePublicKeyHex(strings.ToUpper(hex.EncodeToString(good))); err == nil {
		t.Error("upper-case hex was accepted: a key must have one spelling")
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(testID.Encode())
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := ParseID(b)
		if err == nil && !bytes.Equal(id.Encode(), b) {
			t.Fatalf("%x was read as %v, which encodes differently", b, id)
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	c, _, err := Split(rand.Reader, 1, 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c[0].Bytes())
	f.Add(make([]byte, PublicKeySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParsePublicKey(b)
		if err == nil && (!bytes.Equal(k.Bytes(), b) || k.point.IsInfinity() || !k.point.IsInSubGroup()) {
			t.Fatalf("%x was accepted", b)
		}
	})
}

func FuzzParsePartial(f *testing.F) {
	_, shares, err := Split(rand.Reader, 1, 1)
	if err != nil {
		f.Fatal(err)
	}
	p, err := shares[0].Partial(testID)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Bytes())
	f.Add(make([]byte, PointSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePartial(1, b)
		if err == nil && (!bytes.Equal(p.Bytes(), b) || p.point.IsInfinity() || !p.point.IsInSubGroup()) {
			t.Fatalf("%x was accepted", b)
		}
	})
}
