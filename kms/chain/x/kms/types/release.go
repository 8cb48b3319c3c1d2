package types

import (
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// ValidateBasic checks what needs no state.
func (m *MsgRelease) ValidateBasic() error {
	if err := CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	if err := m.CheckEvidence(); err != nil {
		return err
	}
	switch {
	case len(m.SessionKey) != sessionKeySize:
		return Fail(vm.Refuse(vm.CodeMalformed, "release: the session key has %d bytes, want %d", len(m.SessionKey), sessionKeySize))
	case len(m.Keys) == 0 || len(m.Keys) > MaxKeys:
		return Fail(vm.Refuse(vm.CodeMalformed, "release: asks for %d keys, want 1 to %d", len(m.Keys), MaxKeys))
	}
	if err := keys.CheckRecipientKey(m.HpkeKey); err != nil {
		return Fail(vm.Refuse(vm.CodeMalformed, "release: %v", err))
	}
	return m.checkKeys()
}

// CheckEvidence checks what the message says of the machine, whatever it asks.
func (m *MsgRelease) CheckEvidence() error {
	switch {
	case !uidPattern.MatchString(m.VmUid):
		return Fail(vm.Refuse(vm.CodeMalformed, "release: vm_uid is not 32 lower-case hex digits"))
	case m.Height < 1 || len(m.BlockHash) != hashSize:
		return Fail(vm.Refuse(vm.CodeMalformed, "release: names no block by height and hash"))
	case len(m.Config) > vm.MaxConfigSize:
		return tooLarge("config", len(m.Config), vm.MaxConfigSize)
	case len(m.Quote) > vm.MaxQuoteSize:
		return tooLarge("quote", len(m.Quote), vm.MaxQuoteSize)
	case m.Tee != "" && m.Tee != string(vm.TDX) && m.Tee != string(vm.Soft) && m.Tee != string(vm.SNP):
		return Fail(vm.Refuse(vm.CodeMalformed, "release: evidence of TEE %.20q cannot be judged", m.Tee))
	case m.Collateral.Bytes() > vm.MaxCollateralSize:
		return tooLarge("collateral", m.Collateral.Bytes(), vm.MaxCollateralSize)
	case m.Amd.Bytes() > vm.MaxCollateralSize:
		return tooLarge("amd", m.Amd.Bytes(), vm.MaxCollateralSize)
	case m.Gpu.Bytes() > MaxGPUEvidence:
		return tooLarge("gpu", m.Gpu.Bytes(), MaxGPUEvidence)
	case len(m.Events) > vm.MaxEvents || eventBytes(m.Events) > vm.MaxEventsSize:
		return tooLarge("events", eventBytes(m.Events), vm.MaxEventsSize)
	}
	return nil
}

// checkKeys allows keys of the machine's own service only, for all of the
// service or for this very machine. Whether the epoch is open, and one whose
// group key the machine measured, is decided with the release.
func (m *MsgRelease) checkKeys() error {
	seen := make(map[keys.ID]bool, len(m.Keys))
	for i := range m.Keys {
		id := m.Keys[i].ID()
		if err := id.Validate(); err != nil {
			return Fail(vm.Refuse(vm.CodeMalformed, "release: %v", err))
		}
		switch uid := id.Instance(); {
		case id.Service != m.Service || (uid != "" && uid != m.VmUid):
			return Fail(vm.Refuse(vm.CodePermission, "release: a machine has keys of its own service and of itself only").
				On("key", id.String(), m.Service+" "+keys.InstanceScope(m.VmUid)))
		case seen[id]:
			return Fail(vm.Refuse(vm.CodeMalformed, "release: asks twice for %s", id))
		}
		seen[id] = true
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgAdvance) ValidateBasic() error {
	if err := CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	if len(m.Grant) != hashSize || len(m.Signature) != signatureSize || m.Generation == 0 {
		return Fail(vm.Refuse(vm.CodeMalformed, "advance: want a grant id of %d bytes, a signature of %d and a generation above 0", hashSize, signatureSize))
	}
	return nil
}

// Bytes is the size of all that c holds; a nil c holds nothing.
func (c *Collateral) Bytes() int {
	if c == nil {
		return 0
	}
	return len(c.PckCrl) + len(c.PckCrlChain) + len(c.RootCaCrl) + len(c.TcbInfo) + len(c.TcbInfoChain) + len(c.QeIdentity) + len(c.QeIdentityChain)
}

func eventBytes(events []Event) (n int) {
	for _, e := range events {
		n += len(e.Name) + len(e.Payload)
	}
	return n
}

// Bytes is the size of all that c holds; a nil c holds nothing.
func (c *AMDCollateral) Bytes() int {
	return len(c.GetEndorsementKey()) + len(c.GetChain()) + len(c.GetCrl())
}

// MaxGPUEvidence bounds the evidence of a machine's GPUs, in bytes: eight of one
// model have some 400 kB with all that NVIDIA signs about them, and a transaction
// has a megabyte.
const MaxGPUEvidence = 640 << 10

// Bytes is the size of all that e holds; a nil e holds nothing.
func (e *GPUEvidence) Bytes() int {
	n := len(e.GetNonce())
	for _, d := range e.GetDevices() {
		n += len(d.Kind) + len(d.Evidence) + len(d.CertChain)
	}
	for _, signed := range [][][]byte{e.GetRims(), e.GetOcsp()} {
		for _, b := range signed {
			n += len(b)
		}
	}
	return n
}
