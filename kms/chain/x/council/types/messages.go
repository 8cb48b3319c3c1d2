package types

import (
	"fmt"
	"slices"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// ValidateBasic checks what needs no state.
func (m *MsgAdmit) ValidateBasic() error {
	if err := kmstypes.CheckAddress("sender", m.Sender); err != nil {
		return err
	}
	if n := len(m.Addresses); n == 0 || n > MaxAdmitted {
		return invalid("admit: names %d addresses, want 1 to %d", n, MaxAdmitted)
	}
	for _, a := range m.Addresses {
		if err := kmstypes.CheckAddress("addresses", a); err != nil {
			return err
		}
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgCreateCouncil) ValidateBasic() error {
	if err := kmstypes.CheckAddress("creator", m.Creator); err != nil {
		return err
	}
	if len(m.Description) > MaxDescription {
		return tooLarge("description", len(m.Description), MaxDescription)
	}
	return CheckMembers(m.Members, m.Threshold)
}

// ValidateBasic checks what needs no state; who signs the messages is checked
// when they are proposed.
func (m *MsgPropose) ValidateBasic() error {
	if err := kmstypes.CheckAddress("proposer", m.Proposer); err != nil {
		return err
	}
	if err := kmstypes.CheckAddress("council", m.Council); err != nil {
		return err
	}
	switch n := m.LifetimeSeconds; {
	case len(m.Title) > MaxTitle:
		return tooLarge("title", len(m.Title), MaxTitle)
	case n != 0 && (n < MinLifetime || n > MaxLifetime):
		return invalid("propose: a lifetime of %d seconds, want %d to %d", n, MinLifetime, MaxLifetime)
	}
	return CheckPacked(m.Messages)
}

// CheckPacked checks number, size and form of messages, each by its own rules.
func CheckPacked(packed []*codectypes.Any) error {
	if n := len(packed); n == 0 || n > MaxMessages {
		return invalid("propose: %d messages, want 1 to %d", n, MaxMessages)
	}
	size := 0
	for _, p := range packed {
		size += p.Size()
	}
	if size > MaxBytes {
		return tooLarge("messages", size, MaxBytes)
	}
	msgs, ok := Msgs(packed)
	if !ok {
		return invalid("propose: what is no message of this chain cannot be executed")
	}
	for _, msg := range msgs {
		if v, ok := msg.(sdk.HasValidateBasic); ok {
			if err := v.ValidateBasic(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgApprove) ValidateBasic() error { return kmstypes.CheckAddress("member", m.Member) }

// ValidateBasic checks what needs no state.
func (m *MsgReject) ValidateBasic() error { return kmstypes.CheckAddress("member", m.Member) }

// ValidateBasic checks what needs no state.
func (m *MsgWithdraw) ValidateBasic() error { return kmstypes.CheckAddress("proposer", m.Proposer) }

// ValidateBasic checks what needs no state.
func (m *MsgSetMembers) ValidateBasic() error {
	if err := kmstypes.CheckAddress("council", m.Council); err != nil {
		return err
	}
	return CheckMembers(m.Members, m.Threshold)
}

// CheckMembers wants 1 to MaxMembers different addresses, of which a threshold
// can agree.
func CheckMembers(members []string, threshold uint32) error {
	if n := len(members); n == 0 || n > MaxMembers {
		return invalid("a council of %d members, want 1 to %d", n, MaxMembers)
	}
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if err := kmstypes.CheckAddress("members", m); err != nil {
			return err
		}
		if seen[m] {
			return invalid("a council has every member once: %s is named again", m)
		}
		seen[m] = true
	}
	if threshold == 0 || int(threshold) > len(members) {
		return invalid("a threshold of %d of %d members, want 1 to %d", threshold, len(members), len(members))
	}
	return nil
}

// Sorted returns members in the order in which state holds them.
func Sorted(members []string) []string { return slices.Sorted(slices.Values(members)) }

func invalid(format string, args ...any) error {
	return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, format, args...))
}

func tooLarge(field string, found, limit int) error {
	return kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "message is too large").On(field, fmt.Sprintf("%d bytes", found), fmt.Sprintf("at most %d", limit)))
}
