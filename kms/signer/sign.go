package signer

import (
	"context"
	"fmt"

	clienttx "github.com/cosmos/cosmos-sdk/client/tx"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/wire"
)

// Sign makes a transaction of messages; at names the chain, the account's
// number and the sequence that the transaction uses up.
func (a Account) Sign(ctx context.Context, enc chain.Encoding, at wire.Account, gas uint64, msgs ...sdk.Msg) ([]byte, error) {
	builder := enc.Tx.NewTxBuilder()
	if err := builder.SetMsgs(msgs...); err != nil {
		return nil, fmt.Errorf("put messages in a transaction: %w", err)
	}
	builder.SetGasLimit(gas)
	// The signature covers who signs and with what sequence: these come first,
	// with an empty signature, then the real one.
	mode := signing.SignMode_SIGN_MODE_DIRECT
	empty := signing.SignatureV2{PubKey: a.key.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}, Sequence: at.Sequence}
	if err := builder.SetSignatures(empty); err != nil {
		return nil, fmt.Errorf("prepare signature: %w", err)
	}
	signature, err := clienttx.SignWithPrivKey(ctx, mode, authsigning.SignerData{
		Address: a.Address, ChainID: at.ChainID, AccountNumber: at.Number, Sequence: at.Sequence, PubKey: a.key.PubKey(),
	}, builder, a.key, enc.Tx, at.Sequence)
	if err != nil {
		return nil, fmt.Errorf("sign as %s: %w", a.Address, err)
	}
	if err := builder.SetSignatures(signature); err != nil {
		return nil, fmt.Errorf("add signature: %w", err)
	}
	b, err := enc.Tx.TxEncoder()(builder.GetTx())
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	return b, nil
}
