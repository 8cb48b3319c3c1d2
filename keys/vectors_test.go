package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	circl "github.com/cloudflare/circl/ecc/bls12381"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHashToCurveVectors: RFC 9380, J.9.1, all of them.
func TestHashToCurveVectors(t *testing.T) {
	const suite = "QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
	for _, tt := range []struct{ msg, x, y string }{
		{
			"", "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
			"08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265",
		},
		{
			"abc", "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
			"0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d",
		},
		{
			"abcdef0123456789", "11e0b079dea29a68f0383ee94fed1b940995272407e3bb916bbf268c263ddd57a6a27200a784cbc248e84f357ce82d98",
			"03a87ae2caf14e8ee52e51fa2ed8eefe80f02457004ba4d486d6aa1f517c0889501dc7413753f9599b099ebcbbd2d709",
		},
		{
			"q128_" + strings.Repeat("q", 128), "15f68eaa693b95ccb85215dc65fa81038d69629f70aeee0d0f677cf22285e7bf58d7cb86eefe8f2e9bc3f8cb84fac488",
			"1807a1d50c29f430b8cafc4f8638dfeeadf51211e1602a5f184443076715f91bb90a48ba1e370edce6ae1062f5e6dd38",
		},
		{
			"a512_" + strings.Repeat("a", 512), "082aabae8b7dedb0e78aeb619ad3bfd9277a2f77ba7fad20ef6aabdc6c31d19ba5a6d12283553294c1825c4b3ca2dcfe",
			"05b84ae5a942248eea39e1d91030458c40153f3b654ab7872d779ad1e942856a20c438e8d99bc8abfbf74729ce1f7ac8",
		},
	} {
		p, err := bls.HashToG1([]byte(tt.msg), []byte(suite))
		if err != nil {
			t.Fatal(err)
		}
		x, y := p.X.Bytes(), p.Y.Bytes()
		if hex.EncodeToString(x[:]) != tt.x || hex.EncodeToString(y[:]) != tt.y {
			t.Errorf("%.20q hashes to %x, %x", tt.msg, x, y)
		}
	}
}

// TestHKDFVectors: RFC 5869, A.1 to A.3.
func TestHKDFVectors(t *testing.T) {
	run := func(from, to byte) string {
		var b []byte
		for i := int(from); i <= int(to); i++ {
			b = append(b, byte(i))
		}
		return hex.EncodeToString(b)
	}
	for _, tt := range []struct{ secret, salt, info, want string }{
		{
			strings.Repeat("0b", 22), run(0, 0x0c), run(0xf0, 0xf9),
			"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
		},
		{
			run(0, 0x4f), run(0x60, 0xaf), run(0xb0, 0xff),
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
		},
		{strings.Repeat("0b", 22), "", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
	} {
		want := unhex(t, tt.want)
		got, err := hkdf.Key(sha256.New, unhex(t, tt.secret), unhex(t, tt.salt), string(unhex(t, tt.info)), len(want))
		if err != nil || string(got) != string(want) {
			t.Errorf("%x, %v, want %x", got, err, want)
		}
	}
}

// TestHPKEVectors: there is no vector of the very suite of envelopes, but one of
// its KEM with its KDF, one of its AEAD, and one of RFC 9180 itself.
func TestHPKEVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/hpke.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Source, Info, Private, Public, Enc, AAD, Ciphertext, Plaintext string
		KEM, KDF, AEAD                                                 uint16
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	suite := map[string]bool{}
	for _, v := range vectors {
		t.Run(v.Source, func(t *testing.T) {
			k, err := hpke.NewKEM(v.KEM)
			if err != nil {
				t.Fatal(err)
			}
			d, err := hpke.NewKDF(v.KDF)
			if err != nil {
				t.Fatal(err)
			}
			a, err := hpke.NewAEAD(v.AEAD)
			if err != nil {
				t.Fatal(err)
			}
			suite["kem"] = suite["kem"] || k.ID() == kem().ID()
			suite["kdf"] = suite["kdf"] || d.ID() == kdf().ID()
			suite["aead"] = suite["aead"] || a.ID() == aead().ID()
			private, err := k.NewPrivateKey(unhex(t, v.Private))
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(private.PublicKey().Bytes()) != v.Public {
				t.Fatal("another public key")
			}
			r, err := hpke.NewRecipient(unhex(t, v.Enc), private, d, a, unhex(t, v.Info))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := r.Open(unhex(t, v.AAD), unhex(t, v.Ciphertext))
			if err != nil || hex.EncodeToString(plain) != v.Plaintext {
				t.Fatalf("opened %x, %v", plain, err)
			}
		})
	}
	if len(suite) != 3 || !suite["kem"] || !suite["kdf"] || !suite["aead"] {
		t.Errorf("the vectors do not cover the suite of envelopes: %v", suite)
	}
}

// TestThresholdSignatureOfAnotherNetwork: drand's quicknet is threshold BLS with
// signatures on G1 and RFC 9380 hashing, made by other software on other curves'
// code. Round 1000 verifies under its group key by our pairing and nothing else does.
func TestThresholdSignatureOfAnotherNetwork(t *testing.T) {
	group, err := ParsePublicKeyHex("83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a")
	if err != nil {
		t.Fatal(err)
	}
	sigma, err := parsePoint(unhex(t, "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"))
	if err != nil {
		t.Fatal(err)
	}
	for round, want := range map[uint64]bool{1000: true, 1001: false} {
		digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, round))
		h, err := bls.HashToG1(digest[:], []byte("BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"))
		if err != nil {
			t.Fatal(err)
		}
		h.Neg(&h)
		ok, err := bls.PairingCheckFixedQ([]bls.G1Affine{sigma, h}, []lines{baseLines(), bls.PrecomputeLines(group.point)})
		if err != nil || ok != want {
			t.Errorf("round %d: %t, %v", round, ok, err)
		}
	}
}

// TestAnotherCurveLibraryAgrees: circl hashes the ID to the same point, reads our
// points, and its pairing accepts σ and gives the value that encryption hashes.
func TestAnotherCurveLibraryAgrees(t *testing.T) {
	c, shares := deal(t, 3, 4)
	sigma, err := Combine(3, partials(t, shares, testID))
	if err != nil {
		t.Fatal(err)
	}
	var s, h circl.G1
	var p circl.G2
	point := sigma.point.Bytes()
	if err := s.SetBytes(point[:]); err != nil {
		t.Fatal(err)
	}
	if err := p.SetBytes(c.GroupKey().Bytes()); err != nil {
		t.Fatal(err)
	}
	h.Hash(testID.Encode(), []byte(dst))
	left, right := circl.Pair(&s, circl.G2Generator()), circl.Pair(&h, &p)
	if !left.IsEqual(right) {
		t.Fatal("circl's pairing refuses the key")
	}
	value, err := bls.Pair([]bls.G1Affine{sigma.point}, []bls.G2Affine{c.GroupKey().point})
	if err != nil {
		t.Fatal(err)
	}
	ours := value.Bytes()
	theirs, err := circl.Pair(&s, &p).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if string(ours[:]) != string(theirs) {
		t.Fatal("circl has another value of the pairing, or writes it in another order")
	}
}

// TestEncryptedByAnotherLibrary makes a ciphertext from the documented format with
// circl and the standard library alone.
func TestEncryptedByAnotherLibrary(t *testing.T) {
	c, shares := deal(t, 1, 1)
	id := envID()
	var r circl.Scalar
	if err := r.Random(rand.Reader); err != nil {
		t.Fatal(err)
	}
	var u, p circl.G2
	u.ScalarMult(&r, circl.G2Generator())
	if err := p.SetBytes(c.GroupKey().Bytes()); err != nil {
		t.Fatal(err)
	}
	var h circl.G1
	h.Hash(id.Encode(), []byte("secretvm/v1/key:BLS12381G1_XMD:SHA-256_SSWU_RO_"))
	h.ScalarMult(&r, &h)
	shared, err := circl.Pair(&h, &p).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	label := "secretvm/v1/ibe"
	info := string(binary.BigEndian.AppendUint32(nil, uint32(len(label)))) + label +
		string(binary.BigEndian.AppendUint32(nil, uint32(len(id.Encode())))) + string(id.Encode())
	key, err := hkdf.Key(sha256.New, shared, append(c.GroupKey().Bytes(), u.BytesCompressed()...), info, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	sealed := gcm.Seal(append([]byte{1}, u.BytesCompressed()...), make([]byte, 12), []byte("TOKEN=1"), []byte("aad"))
	plain, err := Decrypt(c.GroupKey(), id, sigmaOf(t, shares[0], id), sealed, []byte("aad"))
	if err != nil || string(plain) != "TOKEN=1" {
		t.Fatalf("%q, %v", plain, err)
	}
}
