package types

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cosmos/cosmos-sdk/types/bech32"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of message fields.
const (
	MaxDescription = 256
	MaxKeys        = 16
	registerSize   = len(vm.Register{})
	hashSize       = len(vm.Hash{})
	sessionKeySize = 32 // Ed25519
	signatureSize  = 64
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	uidPattern  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// ValidateBasic checks what needs no state.
func (m *MsgCreateService) ValidateBasic() error {
	if err := CheckAddress("owner", m.Owner); err != nil {
		return err
	}
	if !namePattern.MatchString(m.Name) {
		return Fail(vm.Refuse(vm.CodeInvalid, "create service: names are 1 to 63 of a-z, 0-9 and -").On("name", fmt.Sprintf("%q", m.Name), ""))
	}
	return nil
}

// ValidateBasic checks what needs no state; that rtmr3 follows from root hash
// and template is checked when the image is added.
func (m *MsgAddImage) ValidateBasic() error {
	if err := CheckAddress("owner", m.Owner); err != nil {
		return err
	}
	for _, r := range []struct {
		name  string
		value []byte
	}{{"mrtd", m.Mrtd}, {"rtmr0", m.Rtmr0}, {"rtmr1", m.Rtmr1}, {"rtmr2", m.Rtmr2}, {"rtmr3", m.Rtmr3}} {
		if len(r.value) != registerSize || allZero(r.value) {
			return Fail(vm.Refuse(vm.CodeInvalid, "add image: every register is named in full, there are no wildcards").
				On(r.name, fmt.Sprintf("%d bytes or zero", len(r.value)), fmt.Sprintf("%d bytes", registerSize)))
		}
	}
	switch {
	case len(m.Service) > keys.MaxIDPart:
		return tooLarge("service", len(m.Service), keys.MaxIDPart)
	case len(m.Description) > MaxDescription:
		return tooLarge("description", len(m.Description), MaxDescription)
	case len(m.Template) > vm.MaxConfigSize:
		return tooLarge("template", len(m.Template), vm.MaxConfigSize)
	case (len(m.RootHash) == 0) != (len(m.Template) == 0):
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: root_hash and template come together or not at all"))
	case len(m.RootHash) != 0 && len(m.RootHash) != hashSize:
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: root_hash is not a SHA-256 digest"))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgRelease) ValidateBasic() error {
	if err := CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	switch {
	case !uidPattern.MatchString(m.VmUid):
		return Fail(vm.Refuse(vm.CodeMalformed, "release: vm_uid is not 32 lower-case hex digits"))
	case len(m.SessionKey) != sessionKeySize:
		return Fail(vm.Refuse(vm.CodeMalformed, "release: the session key has %d bytes, want %d", len(m.SessionKey), sessionKeySize))
	case m.Height < 1 || len(m.BlockHash) != hashSize:
		return Fail(vm.Refuse(vm.CodeMalformed, "release: names no block by height and hash"))
	case len(m.Config) > vm.MaxConfigSize:
		return tooLarge("config", len(m.Config), vm.MaxConfigSize)
	case len(m.Quote) > vm.MaxQuoteSize:
		return tooLarge("quote", len(m.Quote), vm.MaxQuoteSize)
	case m.Collateral.Bytes() > vm.MaxCollateralSize:
		return tooLarge("collateral", m.Collateral.Bytes(), vm.MaxCollateralSize)
	case len(m.Events) > vm.MaxEvents || eventBytes(m.Events) > vm.MaxEventsSize:
		return tooLarge("events", eventBytes(m.Events), vm.MaxEventsSize)
	case len(m.Keys) == 0 || len(m.Keys) > MaxKeys:
		return Fail(vm.Refuse(vm.CodeMalformed, "release: asks for %d keys, want 1 to %d", len(m.Keys), MaxKeys))
	}
	if err := keys.CheckRecipientKey(m.HpkeKey); err != nil {
		return Fail(vm.Refuse(vm.CodeMalformed, "release: %v", err))
	}
	return m.checkKeys()
}

// checkKeys allows keys of the machine's own service only, for all of the
// service or for this very machine, of the one epoch there is.
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
		case id.Epoch != 0:
			return Fail(vm.Refuse(vm.CodeInvalid, "release: epoch %d of the group key does not exist", id.Epoch))
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

// CheckAddress refuses what is no account of this chain, and the upper-case
// spelling of one: it would make two of it.
func CheckAddress(field, s string) error {
	prefix, b, err := bech32.DecodeAndConvert(s)
	if err != nil || prefix != Bech32Prefix || len(b) != 20 || s != strings.ToLower(s) {
		return Fail(vm.Refuse(vm.CodeInvalid, "not an account of this chain").On(field, fmt.Sprintf("%.100q", s), Bech32Prefix+"1…"))
	}
	return nil
}

func tooLarge(field string, found, limit int) error {
	return Fail(vm.Refuse(vm.CodeTooLarge, "message is too large").On(field, fmt.Sprintf("%d bytes", found), fmt.Sprintf("at most %d", limit)))
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
