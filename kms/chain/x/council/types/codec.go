package types

import (
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
)

// RegisterInterfaces makes the messages and their responses known. A response
// that is missing here makes the SDK panic at start.
func RegisterInterfaces(registry codectypes.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(registry, &Msg_serviceDesc)
}

var (
	_ codectypes.UnpackInterfacesMessage = &MsgPropose{}
	_ codectypes.UnpackInterfacesMessage = &Proposal{}
	_ codectypes.UnpackInterfacesMessage = &QueryProposalResponse{}
	_ codectypes.UnpackInterfacesMessage = &QueryProposalsResponse{}
	_ codectypes.UnpackInterfacesMessage = &GenesisState{}
)

// UnpackInterfaces reads the messages inside.
func (m *MsgPropose) UnpackInterfaces(u codectypes.AnyUnpacker) error { return unpack(u, m.Messages) }

// UnpackInterfaces reads the messages inside.
func (p *Proposal) UnpackInterfaces(u codectypes.AnyUnpacker) error { return unpack(u, p.Messages) }

// UnpackInterfaces reads the messages inside.
func (r *QueryProposalResponse) UnpackInterfaces(u codectypes.AnyUnpacker) error {
	return r.Proposal.UnpackInterfaces(u)
}

// UnpackInterfaces reads the messages inside.
func (r *QueryProposalsResponse) UnpackInterfaces(u codectypes.AnyUnpacker) error {
	return unpackAll(u, r.Proposals)
}

// UnpackInterfaces reads the messages inside.
func (g *GenesisState) UnpackInterfaces(u codectypes.AnyUnpacker) error {
	return unpackAll(u, g.Proposals)
}

func unpackAll(u codectypes.AnyUnpacker, proposals []Proposal) error {
	for i := range proposals {
		if err := proposals[i].UnpackInterfaces(u); err != nil {
			return err
		}
	}
	return nil
}

func unpack(u codectypes.AnyUnpacker, messages []*codectypes.Any) error {
	for _, m := range messages {
		var msg sdk.Msg
		if err := u.UnpackAny(m, &msg); err != nil {
			return err
		}
	}
	return nil
}

// Msgs returns the messages inside, which UnpackInterfaces has read; false when
// one is none.
func Msgs(packed []*codectypes.Any) ([]sdk.Msg, bool) {
	msgs := make([]sdk.Msg, len(packed))
	for i, p := range packed {
		msg, ok := p.GetCachedValue().(sdk.Msg)
		if !ok {
			return nil, false
		}
		msgs[i] = msg
	}
	return msgs, true
}

// Pack is the other way round.
func Pack(msgs ...sdk.Msg) ([]*codectypes.Any, error) {
	packed := make([]*codectypes.Any, len(msgs))
	for i, msg := range msgs {
		var err error
		if packed[i], err = codectypes.NewAnyWithValue(msg); err != nil {
			return nil, err
		}
	}
	return packed, nil
}
