package attest

import (
	"slices"
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/nvidia/token"
	"github.com/secretvm/secretvm/vm"
)

// GPUPolicy says what NVIDIA devices are good enough. Its zero value asks for
// none, and is the strictest about those whose evidence comes along.
type GPUPolicy struct {
	// GPUs and Switches are how many must prove themselves at least.
	GPUs, Switches int

	// Architectures lists the generations that are accepted ("HOPPER",
	// "BLACKWELL"; of switches "LS10"), in either case. None means any that is
	// known.
	Architectures []string

	// Hardware lists the devices that are accepted, by vm.GPUFacts.HardwareID.
	// None means any.
	Hardware []string

	// Unmeasured accepts devices for whose driver or firmware NVIDIA's
	// reference document is missing; vm.GPUFacts.Measured is then false. A
	// difference to a document is always refused. Nothing else tells a device in
	// debug mode from one that is not.
	Unmeasured bool

	// Unlinked accepts GPUs in protected PCIe mode although NVSwitches that they
	// are linked with show no evidence.
	Unlinked bool

	// Unchecked accepts certificates without NVIDIA's word that they are not
	// revoked; vm.GPUFacts.Unrevoked is then false. Hold accepts those that
	// NVIDIA has suspended. Revoked ones are always refused.
	Unchecked bool
	Hold      bool

	// Tokens are keys of remote attestation services whose word is taken for
	// reference documents and revocation: JWKS documents, or PEM certificates
	// of keys or of roots above them. None means that a token which comes
	// along counts for nothing. The devices' own evidence is needed all the
	// same.
	Tokens [][]byte

	// Issuer is who must have issued a token. None means NVIDIA's service.
	Issuer string
}

// maxDevices bounds the numbers that a policy may ask for.
const maxDevices = vm.MaxGPUs

func (p GPUPolicy) check() error {
	if p.GPUs < 0 || p.Switches < 0 || p.GPUs+p.Switches > maxDevices {
		return vm.Refuse(vm.CodeInvalid, "policy asks for %d GPUs and %d switches, want at most %d together", p.GPUs, p.Switches, maxDevices)
	}
	known := nvidia.Architectures()
	for _, a := range p.Architectures {
		if !slices.Contains(known, strings.ToUpper(a)) {
			return vm.Refuse(vm.CodeInvalid, "policy accepts GPU architecture %.20q", a).
				On("architecture", a, strings.Join(known, ", "))
		}
	}
	return nil
}

// openToken checks the token that came along, if the policy trusts any service.
func (p GPUPolicy) openToken(ev *vm.GPUEvidence, o Options) (*token.Statement, error) {
	if len(p.Tokens) == 0 || len(ev.Token) == 0 {
		return nil, nil
	}
	keys, err := token.ParseKeys(p.Tokens)
	if err != nil {
		return nil, err
	}
	issuer := p.Issuer
	if issuer == "" {
		issuer = token.NVIDIA
	}
	return token.Open(ev.Token, token.Options{Keys: keys, Issuer: issuer, Nonce: ev.Nonce, Time: o.Time})
}
