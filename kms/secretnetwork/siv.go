package secretnetwork

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"fmt"
)

// AES-SIV (RFC 5297) with two AES-128 keys, which no library that the guest
// links has: S2V over CMAC, then CTR under the first 16 bytes of the result.

// keySize is the size of an AES-128-SIV key: 16 bytes for S2V, 16 for CTR.
const keySize = 32

var errAltered = errors.New("decrypt: another key, or altered bytes")

// seal returns the synthetic IV and the ciphertext. The associated data is a
// vector: none and one empty item are two different things.
func seal(key, plain []byte, data ...[]byte) ([]byte, error) {
	mac, ctr, err := ciphers(key)
	if err != nil {
		return nil, err
	}
	v := s2v(mac, plain, data)
	out := make([]byte, aes.BlockSize+len(plain))
	copy(out, v[:])
	stream(ctr, v).XORKeyStream(out[aes.BlockSize:], plain)
	return out, nil
}

// open is the inverse of seal.
func open(key, sealed []byte, data ...[]byte) ([]byte, error) {
	mac, ctr, err := ciphers(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aes.BlockSize {
		return nil, errAltered
	}
	v := [aes.BlockSize]byte(sealed[:aes.BlockSize])
	plain := make([]byte, len(sealed)-aes.BlockSize)
	stream(ctr, v).XORKeyStream(plain, sealed[aes.BlockSize:])
	if again := s2v(mac, plain, data); subtle.ConstantTimeCompare(again[:], v[:]) != 1 {
		clear(plain)
		return nil, errAltered
	}
	return plain, nil
}

func ciphers(key []byte) (mac, ctr cipher.Block, err error) {
	if len(key) != keySize {
		return nil, nil, fmt.Errorf("AES-SIV key has %d bytes, want %d", len(key), keySize)
	}
	if mac, err = aes.NewCipher(key[:keySize/2]); err == nil {
		ctr, err = aes.NewCipher(key[keySize/2:])
	}
	return mac, ctr, err
}

// stream is CTR mode from v with bits 31 and 63 cleared (RFC 5297, 2.6).
func stream(block cipher.Block, v [aes.BlockSize]byte) cipher.Stream {
	v[8] &= 0x7f
	v[12] &= 0x7f
	return cipher.NewCTR(block, v[:])
}

// s2v is RFC 5297, 2.4.
func s2v(block cipher.Block, plain []byte, data [][]byte) [aes.BlockSize]byte {
	d := cmac(block, make([]byte, aes.BlockSize))
	for _, item := range data {
		double(&d)
		m := cmac(block, item)
		subtle.XORBytes(d[:], d[:], m[:])
	}
	if len(plain) >= aes.BlockSize {
		t := append([]byte(nil), plain...)
		end := t[len(t)-aes.BlockSize:]
		subtle.XORBytes(end, end, d[:])
		defer clear(t)
		return cmac(block, t)
	}
	double(&d)
	t := pad(plain)
	subtle.XORBytes(t[:], t[:], d[:])
	return cmac(block, t[:])
}

// cmac is AES-CMAC (RFC 4493).
func cmac(block cipher.Block, message []byte) (x [aes.BlockSize]byte) {
	var key [aes.BlockSize]byte
	block.Encrypt(key[:], key[:])
	double(&key)
	for len(message) > aes.BlockSize {
		subtle.XORBytes(x[:], x[:], message[:aes.BlockSize])
		block.Encrypt(x[:], x[:])
		message = message[aes.BlockSize:]
	}
	last := pad(message)
	if len(message) == aes.BlockSize {
		copy(last[:], message)
	} else {
		double(&key)
	}
	subtle.XORBytes(x[:], x[:], last[:])
	subtle.XORBytes(x[:], x[:], key[:])
	block.Encrypt(x[:], x[:])
	return x
}

// pad puts a one bit behind less than a block, and zeros.
func pad(b []byte) (out [aes.BlockSize]byte) {
	if copy(out[:], b) < aes.BlockSize {
		out[len(b)] = 0x80
	}
	return out
}

// double multiplies by x in GF(2^128), in constant time.
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := range aes.BlockSize - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[aes.BlockSize-1] = b[aes.BlockSize-1]<<1 ^ 0x87*carry
}
