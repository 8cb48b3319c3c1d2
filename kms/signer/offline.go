package signer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cosmos/cosmos-sdk/client"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	"github.com/cosmos/cosmos-sdk/crypto/types/multisig"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/wire"
)

// Unsigned is a transaction before it is signed, for people who sign it on other
// computers: all that the signature covers, to be read before.
type Unsigned struct {
	ChainID  string            `json:"chain_id"`
	Signer   Public            `json:"signer"`
	Number   uint64            `json:"account_number"`
	Sequence uint64            `json:"sequence"`
	Gas      uint64            `json:"gas"`
	Messages []json.RawMessage `json:"messages"` // protobuf's JSON, with @type
}

// Signature is one key's signature over an Unsigned.
type Signature struct {
	Key       string `json:"public_key"` // hex
	Signature []byte `json:"signature"`  // 64 bytes
}

// amino is the mode of everything that is signed apart: in the other one the
// signature covers who else signs.
const amino = signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON

// Prepare makes an unsigned transaction of an account.
func Prepare(enc chain.Encoding, from Public, at wire.Account, gas uint64, msgs ...sdk.Msg) (Unsigned, error) {
	u := Unsigned{ChainID: at.ChainID, Signer: from, Number: at.Number, Sequence: at.Sequence, Gas: gas}
	for _, msg := range msgs {
		b, err := enc.Codec.MarshalInterfaceJSON(msg)
		if err != nil {
			return u, fmt.Errorf("write %s as JSON: %w", sdk.MsgTypeURL(msg), err)
		}
		u.Messages = append(u.Messages, b)
	}
	return u, nil
}

// builder makes the transaction without signatures.
func (u Unsigned) builder(enc chain.Encoding) (client.TxBuilder, error) {
	if err := u.Signer.check(); err != nil {
		return nil, fmt.Errorf("the transaction's signer: %w", err)
	}
	msgs := make([]sdk.Msg, len(u.Messages))
	for i, b := range u.Messages {
		if err := enc.Codec.UnmarshalInterfaceJSON(b, &msgs[i]); err != nil {
			return nil, fmt.Errorf("message %d of the transaction: %w", i, err)
		}
	}
	builder := enc.Tx.NewTxBuilder()
	if err := builder.SetMsgs(msgs...); err != nil {
		return nil, fmt.Errorf("put messages in a transaction: %w", err)
	}
	builder.SetGasLimit(u.Gas)
	return builder, nil
}

// bytes is what is signed.
func (u Unsigned) bytes(ctx context.Context, enc chain.Encoding, b client.TxBuilder) ([]byte, error) {
	key, err := u.Signer.key()
	if err != nil {
		return nil, err
	}
	at := authsigning.SignerData{Address: u.Signer.Address, ChainID: u.ChainID, AccountNumber: u.Number, Sequence: u.Sequence, PubKey: key}
	out, err := authsigning.GetSignBytesAdapter(ctx, enc.Tx.SignModeHandler(), amino, at, b.GetTx())
	if err != nil {
		return nil, fmt.Errorf("what is to be signed: %w", err)
	}
	return out, nil
}

// SignApart signs a transaction that others may sign as well.
func (a Account) SignApart(ctx context.Context, enc chain.Encoding, u Unsigned) (Signature, error) {
	mine := a.Public().Keys[0]
	if !slices.Contains(u.Signer.Keys, mine) {
		return Signature{}, fmt.Errorf("account %s does not sign for %s", a.Address, u.Signer.Address)
	}
	b, err := u.builder(enc)
	if err != nil {
		return Signature{}, err
	}
	over, err := u.bytes(ctx, enc, b)
	if err != nil {
		return Signature{}, err
	}
	signature, err := a.key.Sign(over)
	if err != nil {
		return Signature{}, fmt.Errorf("sign as %s: %w", a.Address, err)
	}
	return Signature{Key: mine, Signature: signature}, nil
}

// Combine makes the transaction of enough signatures. Every one is verified: who
// signed something else is named.
func Combine(ctx context.Context, enc chain.Encoding, u Unsigned, signatures []Signature) ([]byte, error) {
	b, err := u.builder(enc)
	if err != nil {
		return nil, err
	}
	over, err := u.bytes(ctx, enc, b)
	if err != nil {
		return nil, err
	}
	if need := max(u.Signer.Threshold, 1); len(signatures) < need {
		return nil, fmt.Errorf("%d signatures of %s, want %d", len(signatures), u.Signer.Address, need)
	}
	keys := make([]cryptotypes.PubKey, len(u.Signer.Keys))
	for i, k := range u.Signer.Keys {
		if keys[i], err = parseKey(k); err != nil {
			return nil, err
		}
	}
	all := multisig.NewMultisig(len(keys))
	var one *signing.SingleSignatureData
	signed := make(map[string]bool, len(signatures))
	for _, s := range signatures {
		if signed[s.Key] {
			return nil, fmt.Errorf("key %s signed twice, which counts once", s.Key)
		}
		signed[s.Key] = true
		key, err := parseKey(s.Key)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(u.Signer.Keys, s.Key) || !key.VerifySignature(over, s.Signature) {
			return nil, fmt.Errorf("the signature of key %s is not over this transaction, or not one of %s's", s.Key, u.Signer.Address)
		}
		one = &signing.SingleSignatureData{SignMode: amino, Signature: s.Signature}
		if err := multisig.AddSignatureFromPubKey(all, one, key, keys); err != nil {
			return nil, fmt.Errorf("add the signature of key %s: %w", s.Key, err)
		}
	}
	return u.encode(enc, b, all, one)
}

// encode adds the signatures, one or the many of a multisig key.
func (u Unsigned) encode(enc chain.Encoding, b client.TxBuilder, all *signing.MultiSignatureData, one *signing.SingleSignatureData) ([]byte, error) {
	key, err := u.Signer.key()
	if err != nil {
		return nil, err
	}
	signature := signing.SignatureV2{PubKey: key, Data: one, Sequence: u.Sequence}
	if u.Signer.Threshold > 0 {
		signature.Data = all
	}
	if err := b.SetSignatures(signature); err != nil {
		return nil, fmt.Errorf("add signatures: %w", err)
	}
	tx, err := enc.Tx.TxEncoder()(b.GetTx())
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	return tx, nil
}
