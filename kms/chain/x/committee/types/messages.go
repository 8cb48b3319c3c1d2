package types

import (
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// ValidateBasic checks what needs no state.
func (m *MsgPrepare) ValidateBasic() error {
	if err := kmstypes.CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	if err := keys.CheckRecipientKey(m.Key); err != nil {
		return kmstypes.Fail(vm.Refuse(vm.CodeMalformed, "prepare: %v", err))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgDeal) ValidateBasic() error {
	if err := kmstypes.CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	if len(m.Deal) > dkg.MaxDeal {
		return kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "deal").On("deal", fmt.Sprintf("%d bytes", len(m.Deal)), fmt.Sprintf("at most %d", dkg.MaxDeal)))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgComplain) ValidateBasic() error {
	if err := kmstypes.CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	last := uint32(0)
	for _, d := range m.Complaint.Dealers {
		if d <= last || d > keys.MaxNodes {
			return kmstypes.Fail(vm.Refuse(vm.CodeMalformed, "complain: dealers are named once each, in order"))
		}
		last = d
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgJustify) ValidateBasic() error {
	if err := kmstypes.CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	last := uint32(0)
	for _, s := range m.Justification.Shares {
		if s.Holder <= last || s.Holder > keys.MaxNodes || len(s.Scalar) != keys.ScalarSize {
			return kmstypes.Fail(vm.Refuse(vm.CodeMalformed, "justify: shares are of %d bytes, one for each holder, in order", keys.ScalarSize))
		}
		last = s.Holder
	}
	return nil
}
