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
	MaxShape       = 64   // of a platform
	MaxPlatforms   = 4096 // of one image
	MaxKeys        = 48
	MaxCiphertext  = 64 << 10
	MaxImages      = 10_000    // ever added to one service
	MaxRows        = 1_000_000 // platforms of all images ever added to one service
	MaxRefusals    = 64        // that the ledger keeps of one service
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
		return Fail(vm.Refuse(vm.CodeInvalid, "create service: names are 1 to 63 of a-z, 0-9 and -").On("name", fmt.Sprintf("%.100q", m.Name), ""))
	}
	if m.Policy == nil {
		return nil
	}
	return m.Policy.Validate()
}

// ValidateBasic checks what needs no state; that rtmr3 follows from root hash
// and template is checked when the image is added.
func (m *MsgAddImage) ValidateBasic() error {
	if err := checkOwner(m.Owner, m.Service); err != nil {
		return err
	}
	switch {
	case len(m.Platforms) == 0 || len(m.Platforms) > MaxPlatforms:
		return Fail(vm.Refuse(vm.CodeTooLarge, "add image: an image has 1 to %d platforms", MaxPlatforms).On("platforms", fmt.Sprint(len(m.Platforms)), ""))
	case len(m.Description) > MaxDescription:
		return tooLarge("description", len(m.Description), MaxDescription)
	case len(m.Template) > vm.MaxConfigSize:
		return tooLarge("template", len(m.Template), vm.MaxConfigSize)
	case (len(m.RootHash) == 0) != (len(m.Template) == 0):
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: root_hash and template come together or not at all"))
	case len(m.RootHash) != 0 && len(m.RootHash) != hashSize:
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: root_hash is not a SHA-256 digest"))
	}
	return m.checkRegisters()
}

// checkRegisters wants every register of every TEE that the image is for, and
// none of others: what is not compared must not look as if it were.
func (m *MsgAddImage) checkRegisters() error {
	tdx, snp := 0, 0
	for i := range m.Platforms {
		p := &m.Platforms[i]
		if err := p.check(i); err != nil {
			return err
		}
		if p.Tee == string(vm.TDX) {
			tdx++
		} else {
			snp++
		}
	}
	if snp > 0 && len(m.Template) == 0 {
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: SEV-SNP platforms need root_hash and template, because no register of theirs says the config").On("template", "missing", "a config"))
	}
	for _, r := range []register{{"rtmr1", m.Rtmr1}, {"rtmr2", m.Rtmr2}, {"rtmr3", m.Rtmr3}} {
		if err := r.check(tdx > 0, ""); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) check(row int) error {
	at := fmt.Sprintf("platforms[%d].", row)
	tdx := p.Tee == string(vm.TDX)
	if !tdx && p.Tee != string(vm.SNP) {
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: a platform of another TEE").On(at+"tee", fmt.Sprintf("%.20q", p.Tee), "tdx or snp"))
	}
	if len(p.Shape) > MaxShape {
		return tooLarge(at+"shape", len(p.Shape), MaxShape)
	}
	for _, r := range []struct {
		register
		wanted bool
	}{{register{"mrtd", p.Mrtd}, tdx}, {register{"rtmr0", p.Rtmr0}, tdx}, {register{"launch", p.Launch}, !tdx}} {
		if err := r.check(r.wanted, at); err != nil {
			return err
		}
	}
	return nil
}

type register struct {
	name  string
	value []byte
}

// check refuses a register that is not named in full, or is given without being
// compared.
func (r register) check(wanted bool, at string) error {
	switch {
	case wanted && (len(r.value) != registerSize || allZero(r.value)):
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: every register is named in full, there are no wildcards").
			On(at+r.name, fmt.Sprintf("%d bytes or zero", len(r.value)), fmt.Sprintf("%d bytes", registerSize)))
	case !wanted && len(r.value) != 0:
		return Fail(vm.Refuse(vm.CodeInvalid, "add image: the register is of a TEE that the row or image is not for").
			On(at+r.name, fmt.Sprintf("%d bytes", len(r.value)), "none"))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgRevokeImage) ValidateBasic() error {
	if len(m.Reason) > MaxDescription {
		return tooLarge("reason", len(m.Reason), MaxDescription)
	}
	return checkOwner(m.Owner, m.Service)
}

// ValidateBasic checks what needs no state.
func (m *MsgSetPolicy) ValidateBasic() error {
	if err := checkOwner(m.Owner, m.Service); err != nil {
		return err
	}
	return m.Policy.Validate()
}

// ValidateBasic checks what needs no state.
func (m *MsgFreeze) ValidateBasic() error { return checkOwner(m.Owner, m.Service) }

// ValidateBasic checks what needs no state. That the ciphertext can be opened
// cannot be checked by anybody but the service's machines.
func (m *MsgSeal) ValidateBasic() error {
	if err := checkOwner(m.Owner, m.Service); err != nil {
		return err
	}
	if err := CheckSealedName(m.Name); err != nil {
		return err
	}
	if len(m.Ciphertext) > MaxCiphertext {
		return tooLarge("ciphertext", len(m.Ciphertext), MaxCiphertext)
	}
	return nil
}

// The names of what can be sealed; they are the names of the keys (keys.ID) that
// open it, of scope service.
const (
	SealedEnv      = "env"
	SealedRegistry = "registry"
)

// CheckSealedName refuses what is no name of sealed content.
func CheckSealedName(name string) error {
	if name != SealedEnv && name != SealedRegistry {
		return Fail(vm.Refuse(vm.CodeInvalid, "not something that can be sealed").On("name", fmt.Sprintf("%.40q", name), SealedEnv+" or "+SealedRegistry))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgTransfer) ValidateBasic() error {
	if err := checkOwner(m.Owner, m.Service); err != nil {
		return err
	}
	return CheckAddress("to", m.To)
}

// ValidateBasic checks what needs no state.
func (m *MsgAcceptRollback) ValidateBasic() error {
	if err := checkOwner(m.Owner, m.Service); err != nil {
		return err
	}
	if !uidPattern.MatchString(m.VmUid) {
		return Fail(vm.Refuse(vm.CodeInvalid, "accept rollback: vm_uid is not 32 lower-case hex digits"))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgUpdateParams) ValidateBasic() error {
	if err := CheckAddress("authority", m.Authority); err != nil {
		return err
	}
	if err := m.Params.Validate(); err != nil {
		return Fail(vm.Refuse(vm.CodeInvalid, "update parameters: %v", err))
	}
	return nil
}

func checkOwner(owner, service string) error {
	if err := CheckAddress("owner", owner); err != nil {
		return err
	}
	if len(service) > keys.MaxIDPart {
		return tooLarge("service", len(service), keys.MaxIDPart)
	}
	return nil
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
