package types

import (
	"crypto/ed25519"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of what a message holds.
const (
	maxHint      = 256 // bytes of an address
	maxReason    = 512
	maxOperators = 256
)

// ValidateBasic checks what needs no state.
func (m *MsgJoin) ValidateBasic() error {
	if err := kmstypes.CheckAddress("sender", m.Sender); err != nil {
		return err
	}
	if err := kmstypes.CheckAddress("operator", m.Operator); err != nil {
		return err
	}
	if m.Replaces > keys.MaxNodes {
		return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "join: replaces is %d, want a node's index or 0", m.Replaces))
	}
	if err := checkHints(m.Api, m.Peer); err != nil {
		return err
	}
	return checkClaim("join", m.Relay, m.ConsensusKey, m.SealingKey, m.Evidence)
}

// ValidateBasic checks what needs no state.
func (m *MsgRotate) ValidateBasic() error {
	if err := checkNode(m.Sender, m.Index); err != nil {
		return err
	}
	return checkClaim("rotate", m.Relay, m.ConsensusKey, m.SealingKey, m.Evidence)
}

// ValidateBasic checks what needs no state.
func (m *MsgLeave) ValidateBasic() error { return checkNode(m.Sender, m.Index) }

// ValidateBasic checks what needs no state.
func (m *MsgRemove) ValidateBasic() error {
	if len(m.Reason) > maxReason {
		return kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "remove: the reason has %d bytes, want at most %d", len(m.Reason), maxReason))
	}
	return checkNode(m.Authority, m.Index)
}

// ValidateBasic checks what needs no state.
func (m *MsgAddress) ValidateBasic() error {
	if err := checkNode(m.Sender, m.Index); err != nil {
		return err
	}
	return checkHints(m.Api, m.Peer)
}

// ValidateBasic checks what needs no state.
func (m *MsgReshare) ValidateBasic() error { return kmstypes.CheckAddress("sender", m.Sender) }

// ValidateBasic checks what needs no state.
func (m *MsgOpenEpoch) ValidateBasic() error { return kmstypes.CheckAddress("authority", m.Authority) }

// ValidateBasic checks what needs no state.
func (m *MsgCloseEpoch) ValidateBasic() error {
	return kmstypes.CheckAddress("authority", m.Authority)
}

// ValidateBasic checks what needs no state.
func (m *MsgUpdateParams) ValidateBasic() error {
	if err := kmstypes.CheckAddress("authority", m.Authority); err != nil {
		return err
	}
	if err := m.Params.Validate(); err != nil {
		return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "parameters: %v", err))
	}
	return nil
}

// Release is the evidence as x/kms decides about it: of a machine of service.
func (e *Evidence) Release(service string) *kmstypes.MsgRelease {
	return &kmstypes.MsgRelease{
		Service: service, VmUid: e.VmUid, Height: e.Height, BlockHash: e.BlockHash, Config: e.Config,
		Tee: e.Tee, Quote: e.Quote, Events: e.Events, Collateral: e.Collateral, Amd: e.Amd,
	}
}

func checkNode(sender string, index uint32) error {
	if err := kmstypes.CheckAddress("sender", sender); err != nil {
		return err
	}
	if index == 0 || index > keys.MaxNodes {
		return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node index is %d, want 1 to %d", index, keys.MaxNodes))
	}
	return nil
}

// checkHints bounds what a node says of where it is; nobody believes it.
func checkHints(api, peer string) error {
	for _, hint := range []string{api, peer} {
		if len(hint) > maxHint {
			return kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "an address has %d bytes, want at most %d", len(hint), maxHint))
		}
		for _, c := range []byte(hint) {
			if c <= ' ' || c >= 0x7f {
				return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "an address holds a byte that none has: %#02x", c))
			}
		}
	}
	return nil
}

func checkClaim(what, relay string, consensusKey, sealingKey []byte, e *Evidence) error {
	if err := kmstypes.CheckAddress("relay", relay); err != nil {
		return err
	}
	if len(consensusKey) != ed25519.PublicKeySize {
		return kmstypes.Fail(vm.Refuse(vm.CodeMalformed, "%s: the consensus key has %d bytes, want %d", what, len(consensusKey), ed25519.PublicKeySize))
	}
	if err := keys.CheckRecipientKey(sealingKey); err != nil {
		return kmstypes.Fail(vm.Refuse(vm.CodeMalformed, "%s: %v", what, err))
	}
	if e == nil {
		return nil
	}
	return e.Release("").CheckEvidence()
}

// checkGovernance checks who may bring nodes, and what nodes are machines of.
func (p Params) checkGovernance() error {
	if len(p.Operators) > maxOperators {
		return fmt.Errorf("%d operators, want at most %d", len(p.Operators), maxOperators)
	}
	for _, o := range p.Operators {
		if err := kmstypes.CheckAddress("operators", o); err != nil {
			return err
		}
	}
	if len(p.NodeService) > maxHint {
		return fmt.Errorf("node_service has %d bytes, want at most %d", len(p.NodeService), maxHint)
	}
	return nil
}
