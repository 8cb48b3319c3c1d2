package luks

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// metadata is the JSON area (LUKS2 specification, chapter 3), with exactly the
// fields that our headers have: others fail to decode.
type metadata struct {
	Keyslots map[string]keyslot         `json:"keyslots"`
	Tokens   map[string]json.RawMessage `json:"tokens"`
	Segments map[string]segment         `json:"segments"`
	Digests  map[string]digest          `json:"digests"`
	Config   config                     `json:"config"`
}

type keyslot struct {
	Type    string `json:"type"`
	KeySize int    `json:"key_size"`
	AF      split  `json:"af"`
	Area    area   `json:"area"`
	KDF     kdf    `json:"kdf"`
}

type split struct {
	Type    string `json:"type"`
	Stripes int    `json:"stripes"`
	Hash    string `json:"hash"`
}

type area struct {
	Type       string `json:"type"`
	Offset     string `json:"offset"`
	Size       string `json:"size"`
	Encryption string `json:"encryption"`
	KeySize    int    `json:"key_size"`
}

type kdf struct {
	Type       string `json:"type"`
	Hash       string `json:"hash"`
	Iterations int    `json:"iterations"`
	Salt       []byte `json:"salt"`
}

type segment struct {
	Type       string `json:"type"`
	Offset     string `json:"offset"`
	Size       string `json:"size"`
	IVTweak    string `json:"iv_tweak"`
	Encryption string `json:"encryption"`
	SectorSize int    `json:"sector_size"`
}

type digest struct {
	Type       string   `json:"type"`
	Keyslots   []string `json:"keyslots"`
	Segments   []string `json:"segments"`
	Hash       string   `json:"hash"`
	Iterations int      `json:"iterations"`
	Salt       []byte   `json:"salt"`
	Digest     []byte   `json:"digest"`
}

// config has no flags and no requirements: a header that asks for either
// (reencryption, discards, integrity) fails to decode.
type config struct {
	JSONSize     string `json:"json_size"`
	KeyslotsSize string `json:"keyslots_size"`
}

// fixed is the only metadata there may be: one key slot, one encrypted
// segment to the end of the disk, one digest, no tokens. The two salts and the
// digest are the disk's own.
func fixed(keySalt, digestSalt, sum []byte) metadata {
	return metadata{
		Keyslots: map[string]keyslot{"0": {
			Type: "luks2", KeySize: len(VolumeKey{}),
			AF:   split{Type: "luks1", Stripes: stripes, Hash: hashName},
			Area: area{Type: "raw", Offset: "32768", Size: "258048", Encryption: Cipher, KeySize: 64},
			KDF:  kdf{Type: "pbkdf2", Hash: hashName, Iterations: iterations, Salt: keySalt},
		}},
		Tokens: map[string]json.RawMessage{},
		Segments: map[string]segment{"0": {
			Type: "crypt", Offset: "16777216", Size: "dynamic", IVTweak: "0", Encryption: Cipher, SectorSize: SectorSize,
		}},
		Digests: map[string]digest{"0": {
			Type: "pbkdf2", Keyslots: []string{"0"}, Segments: []string{"0"},
			Hash: hashName, Iterations: iterations, Salt: digestSalt, Digest: sum,
		}},
		Config: config{JSONSize: "12288", KeyslotsSize: "262144"},
	}
}

// check compares m with the only metadata there may be and names the first
// part that differs.
func (m metadata) check() error {
	slot, dig := m.Keyslots["0"], m.Digests["0"]
	want := fixed(slot.KDF.Salt, dig.Salt, dig.Digest)
	for _, part := range []struct {
		name      string
		got, want any
	}{
		{"key slots", m.Keyslots, want.Keyslots},
		{"tokens", m.Tokens, want.Tokens},
		{"segments", m.Segments, want.Segments},
		{"digests", m.Digests, want.Digests},
		{"config", m.Config, want.Config},
	} {
		if !reflect.DeepEqual(part.got, part.want) {
			return fmt.Errorf("its %s are not the fixed ones", part.name)
		}
	}
	if len(slot.KDF.Salt) != 32 || len(dig.Salt) != 32 || len(dig.Digest) != 32 {
		return fmt.Errorf("salts and digest have %d, %d and %d bytes, want 32 each", len(slot.KDF.Salt), len(dig.Salt), len(dig.Digest))
	}
	return nil
}
