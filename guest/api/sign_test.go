package api

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// TestSignersAreTheStandards: vectors of RFC 8032 (7.1, test 2) and, for ECDSA with
// nonces of RFC 6979 on secp256k1, of the implementations that agree on it.
func TestSignersAreTheStandards(t *testing.T) {
	for _, tt := range []struct{ kind, seed, public, message, signature string }{
		{
			"ed25519", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "\x72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
		{
			"secp256k1", strings.Repeat("00", 31) + "01",
			"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", "Satoshi Nakamoto",
			"3045022100934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8" +
				"02202442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
		},
	} {
		seed, err := hex.DecodeString(tt.seed)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSigner(tt.kind, seed)
		if err != nil {
			t.Fatal(err)
		}
		clear(seed) // as newSigners does
		if got := hex.EncodeToString(s.public); got != tt.public {
			t.Errorf("%s: public key %s, want %s", tt.kind, got, tt.public)
		}
		if got := hex.EncodeToString(s.sign([]byte(tt.message))); got != tt.signature {
			t.Errorf("%s: signature %s, want %s", tt.kind, got, tt.signature)
		}
		if text := fmt.Sprintf("%v %s %+v", s, s, s); text != "redacted redacted redacted" {
			t.Errorf("a signer prints as %s", text)
		}
	}
	if _, err := newSigner("secp256k1", make([]byte, 32)); err == nil {
		t.Error("zero is taken for a key")
	}
}
