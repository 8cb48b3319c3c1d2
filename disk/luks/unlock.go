package luks

import (
	"crypto/aes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/xts"
)

// keyslotSector is the unit in which a key slot's area is encrypted, whatever
// the sector size of the payload (LUKS2 specification, section 3.2.2).
const keyslotSector = 512

// Unlock returns the volume key, or ErrWrongKey. A damaged key slot cannot be
// told from a wrong key: both fail the digest.
func (h *Header) Unlock(key Key) (*VolumeKey, error) {
	slotKey, err := pbkdf2.Key(sha256.New, string(key[:]), h.keySalt, iterations, len(VolumeKey{}))
	if err != nil {
		return nil, fmt.Errorf("derive key slot key: %w", err)
	}
	cipher, err := xts.NewCipher(aes.NewCipher, slotKey)
	if err != nil {
		return nil, fmt.Errorf("open key slot: %w", err)
	}
	material := make([]byte, len(h.keyMaterial))
	for off := 0; off < len(material); off += keyslotSector {
		cipher.Decrypt(material[off:off+keyslotSector], h.keyMaterial[off:off+keyslotSector], uint64(off/keyslotSector))
	}
	volume := merge(material)
	clear(material)
	clear(slotKey)

	sum, err := pbkdf2.Key(sha256.New, string(volume[:]), h.digestSalt, iterations, len(h.digest))
	if err != nil {
		return nil, fmt.Errorf("digest volume key: %w", err)
	}
	if subtle.ConstantTimeCompare(sum, h.digest) != 1 {
		return nil, ErrWrongKey
	}
	return &volume, nil
}

// merge undoes the anti-forensic split: xor a stripe in, diffuse, repeat; the
// last stripe is xored in without diffusion (LUKS1 specification, 2.4).
func merge(material []byte) (key VolumeKey) {
	for s := range stripes {
		subtle.XORBytes(key[:], key[:], material[s*len(key):(s+1)*len(key)])
		if s < stripes-1 {
			diffuse(key[:])
		}
	}
	return key
}

// diffuse replaces each block i of b by SHA-256(BE32(i) ‖ block).
func diffuse(b []byte) {
	var in [4 + sha256.Size]byte
	for i := 0; i*sha256.Size < len(b); i++ {
		block := b[i*sha256.Size : (i+1)*sha256.Size]
		binary.BigEndian.PutUint32(in[:], uint32(i))
		copy(in[4:], block)
		sum := sha256.Sum256(in[:])
		copy(block, sum[:])
	}
}
