package main

import (
	"fmt"

	"github.com/cosmos/gogoproto/proto"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	council "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// actor is the address that a message is of: the council's that it is proposed
// to, else the signer's.
func (s *settings) actor() (string, error) {
	if s.council != "" {
		return s.council, nil
	}
	from, err := s.signer()
	return from.Address, err
}

// later reports whether nothing is done before others have signed or approved.
func (s *settings) later() bool { return s.unsigned != "" || s.council != "" }

// proposed puts a message before the council, if one is to send it.
func (s *settings) proposed(msg sdk.Msg, answer proto.Message) (sdk.Msg, proto.Message, error) {
	if s.council == "" {
		return msg, answer, nil
	}
	member, err := s.signer()
	if err != nil {
		return nil, nil, err
	}
	packed, err := codectypes.NewAnyWithValue(msg)
	if err != nil {
		return nil, nil, fmt.Errorf("propose the message: %w", err)
	}
	return &council.MsgPropose{Proposer: member.Address, Council: s.council, Messages: []*codectypes.Any{packed}, Title: sdk.MsgTypeURL(msg)}, &council.MsgProposeResponse{}, nil
}

// Gas of messages whose cost is that of others.
const (
	gasOfApproval = 80_000_000 // it may carry out any proposal
	gasOfProposal = 10_000_000 // beside its messages, which it carries out where one approval is enough
)

// gas is what a message is allowed to use.
func gas(msg sdk.Msg) uint64 {
	switch m := msg.(type) {
	case *council.MsgApprove:
		return gasOfApproval
	case *council.MsgPropose:
		sum := uint64(gasOfProposal)
		for _, packed := range m.Messages {
			if inner, ok := packed.GetCachedValue().(sdk.Msg); ok {
				sum += types.Gas(inner)
			}
		}
		return sum
	}
	return types.Gas(msg)
}

// readPolicy reads a policy from protobuf's JSON.
func readPolicy(text string) (*types.Policy, error) {
	encoding, err := chain.NewEncoding()
	if err != nil {
		return nil, err
	}
	p := new(types.Policy)
	if err := encoding.Codec.UnmarshalJSON([]byte(text), p); err != nil {
		return nil, usageError{fmt.Errorf("--policy: %w", err)}
	}
	return p, nil
}
