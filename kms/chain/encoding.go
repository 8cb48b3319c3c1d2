package chain

import (
	"fmt"

	"cosmossdk.io/core/address"
	"github.com/cosmos/gogoproto/proto"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	addresscodec "github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/std"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	txsigning "github.com/cosmos/cosmos-sdk/x/tx/signing"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// Encoding is how transactions and state are written: what the application and
// everybody who signs for it share.
type Encoding struct {
	Registry  codectypes.InterfaceRegistry
	Codec     *codec.ProtoCodec
	Tx        client.TxConfig
	Addresses address.Codec
}

// NewEncoding knows the chain's messages and no others. Transactions are signed
// over their protobuf bytes (SIGN_MODE_DIRECT), or over their amino JSON where
// several sign who do not know yet which of them will (multisig keys).
func NewEncoding() (Encoding, error) {
	e := Encoding{Addresses: addresscodec.NewBech32Codec(types.Bech32Prefix)}
	signed := txsigning.Options{
		AddressCodec:          e.Addresses,
		ValidatorAddressCodec: addresscodec.NewBech32Codec(types.Bech32Prefix + "valoper"),
	}
	var err error
	e.Registry, err = codectypes.NewInterfaceRegistryWithOptions(codectypes.InterfaceRegistryOptions{
		ProtoFiles: proto.HybridResolver, SigningOptions: signed,
	})
	if err != nil {
		return e, fmt.Errorf("make the interface registry: %w", err)
	}
	std.RegisterInterfaces(e.Registry)
	authtypes.RegisterInterfaces(e.Registry)
	msgservice.RegisterMsgServiceDesc(e.Registry, &upgradetypes.Msg_serviceDesc)
	counciltypes.RegisterInterfaces(e.Registry)
	committee.RegisterInterfaces(e.Registry)
	types.RegisterInterfaces(e.Registry)
	if err := e.Registry.SigningContext().Validate(); err != nil {
		return e, fmt.Errorf("messages without a signer: %w", err)
	}
	e.Codec = codec.NewProtoCodec(e.Registry)
	e.Tx, err = authtx.NewTxConfigWithOptions(e.Codec, authtx.ConfigOptions{
		EnabledSignModes: []signing.SignMode{signing.SignMode_SIGN_MODE_DIRECT, signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON},
		SigningOptions:   &signed, SigningContext: e.Registry.SigningContext(),
	})
	if err != nil {
		return e, fmt.Errorf("make the transaction encoding: %w", err)
	}
	return e, nil
}
