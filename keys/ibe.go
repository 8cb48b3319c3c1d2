package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Identity-based encryption: Boneh and Franklin's key encapsulation over the
// group key, with AES-256-GCM for the message. Whoever has P encrypts to an ID,
// offline; only σ of that ID decrypts, which no one has before a grant. It is
// secure against chosen ciphertexts (gap bilinear Diffie-Hellman, random oracle),
// because U, P and the ID are hashed into the key. It is not secure against a
// quantum computer: ciphertexts that must outlive that belong in an envelope.
//
// A ciphertext is one byte of version, U = r·G2 as 96 bytes, then AES-256-GCM
// under 12 bytes of zero nonce, since every key is used once, with aad:
//
//	HKDF-SHA-256(secret e(r·H(ID), P) = e(σ, U), salt P ‖ U, info label and ID behind their lengths)

// ibeVersion is the first byte of a ciphertext.
const ibeVersion = 1

// MaxCiphertext bounds what Encrypt makes and Decrypt reads, in bytes.
const MaxCiphertext = 64 << 10

// CiphertextOverhead is how much longer a ciphertext is than its message, in bytes.
const CiphertextOverhead = 1 + PublicKeySize + 16

// Encrypt encrypts plaintext to whoever will be given the key named id of the
// group; aad is authenticated, must be the same at Decrypt, and may be nil.
func Encrypt(random io.Reader, group PublicKey, id ID, plaintext, aad []byte) ([]byte, error) {
	if len(plaintext) > MaxCiphertext-CiphertextOverhead {
		return nil, fmt.Errorf("encrypt to %s: %d bytes, want at most %d", id, len(plaintext), MaxCiphertext-CiphertextOverhead)
	}
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if group.point.IsInfinity() {
		return nil, errors.New("encrypt: there is no group key")
	}
	h, err := id.point()
	if err != nil {
		return nil, err
	}
	r, err := drawScalar(random)
	if err != nil {
		return nil, fmt.Errorf("encrypt to %s: %w", id, err)
	}
	defer r.SetZero()
	n := r.BigInt(new(big.Int))
	defer clear(n.Bits())
	u := multiplyBase(&r)
	h.ScalarMultiplication(&h, n)
	seal, err := ibeCipher(group, id, h, group, u)
	if err != nil {
		return nil, fmt.Errorf("encrypt to %s: %w", id, err)
	}
	out := append(make([]byte, 0, len(plaintext)+CiphertextOverhead), ibeVersion)
	out = append(out, u.Bytes()...)
	return seal.Seal(out, make([]byte, seal.NonceSize()), plaintext, aad), nil
}

// Decrypt opens a ciphertext that was made for the key named id of the group;
// sigma is that key (VerifyKey). Every error but a wrong size or version means
// the same: other key, other id, other aad, or altered bytes.
func Decrypt(group PublicKey, id ID, sigma Signature, ciphertext, aad []byte) ([]byte, error) {
	if err := CheckCiphertext(ciphertext); err != nil {
		return nil, err
	}
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	if sigma.point.IsInfinity() || group.point.IsInfinity() {
		return nil, fmt.Errorf("decrypt for %s: there is no key", id)
	}
	u, err := ParsePublicKey(ciphertext[1 : 1+PublicKeySize])
	if err != nil {
		return nil, fmt.Errorf("decrypt for %s: %w", id, err)
	}
	open, err := ibeCipher(group, id, sigma.point, u, u)
	if err != nil {
		return nil, fmt.Errorf("decrypt for %s: %w", id, err)
	}
	plain, err := open.Open(nil, make([]byte, open.NonceSize()), ciphertext[1+PublicKeySize:], aad)
	if err != nil {
		return nil, fmt.Errorf("decrypt for %s: not made for this key, or altered", id)
	}
	return plain, nil
}

// CheckCiphertext reports bytes that Decrypt can never open, without any key and
// without arithmetic: a chain calls it on what owners hand in.
func CheckCiphertext(b []byte) error {
	if len(b) < CiphertextOverhead || len(b) > MaxCiphertext {
		return fmt.Errorf("ciphertext has %d bytes, want %d to %d", len(b), CiphertextOverhead, MaxCiphertext)
	}
	if b[0] != ibeVersion {
		return fmt.Errorf("ciphertext has version %d, want %d", b[0], ibeVersion)
	}
	return nil
}

// ibeCipher makes the cipher whose key follows from e(p, q) and the public values.
func ibeCipher(group PublicKey, id ID, p bls.G1Affine, q, u PublicKey) (cipher.AEAD, error) {
	gt, err := bls.Pair([]bls.G1Affine{p}, []bls.G2Affine{q.point})
	if err != nil {
		return nil, fmt.Errorf("pairing: %w", err)
	}
	shared := gt.Bytes()
	defer clear(shared[:])
	key, err := hkdf.Key(sha256.New, shared[:], append(group.Bytes(), u.Bytes()...),
		string(join([]byte(labelIBE), id.Encode())), SecretSize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
