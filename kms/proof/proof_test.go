package proof

import (
	"testing"

	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"

	"github.com/secretvm/secretvm/vm"
)

// FuzzVerify: whatever a node sends is refused with a code, and no more.
func FuzzVerify(f *testing.F) {
	ops := cmtcrypto.ProofOps{Ops: []cmtcrypto.ProofOp{{Type: "ics23:iavl", Key: []byte("k"), Data: []byte{1}}, {Type: "ics23:simple", Key: []byte("kms"), Data: []byte{0x12, 2, 8, 1}}}}
	seed, err := Encode(&ops)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("k"), []byte("v"), seed)
	f.Add([]byte("k"), []byte{}, seed)
	f.Add([]byte("k"), []byte("v"), []byte{})
	f.Fuzz(func(t *testing.T, key, value, proof []byte) {
		err := Entry{Store: "kms", Key: key, Value: value, Height: 2, Proof: proof}.Verify(make([]byte, 32))
		switch vm.CodeOf(err) {
		case vm.CodeMalformed, vm.CodeInvalid, vm.CodeSignature, vm.CodeTooLarge:
		default:
			t.Fatalf("error is %v", err)
		}
	})
}

func TestEncodeNothing(t *testing.T) {
	if _, err := Encode(nil); err == nil {
		t.Error("no proof was encoded")
	}
}
