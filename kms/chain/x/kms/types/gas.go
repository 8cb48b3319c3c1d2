package types

import sdk "github.com/cosmos/cosmos-sdk/types"

// Gas returns enough gas for a transaction of one message of an owner. Nobody
// pays for gas here: it bounds the work of a block.
func Gas(msg sdk.Msg) uint64 {
	const (
		base        = 10_000_000
		perPlatform = 12_000
		perByte     = 120
	)
	switch m := msg.(type) {
	case *MsgAddImage:
		return base + perPlatform*uint64(len(m.Platforms)) + perByte*uint64(len(m.Template))
	case *MsgSeal:
		return base + perByte*uint64(len(m.Ciphertext))
	}
	return base
}
