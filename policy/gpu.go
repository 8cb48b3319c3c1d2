package policy

import "github.com/secretvm/secretvm/attest"

// GPU is what NVIDIA devices must be there.
type GPU struct {
	Required      bool     `yaml:"required" doc:"at least one GPU must have proved itself"`
	Count         int      `yaml:"count" doc:"at least so many GPUs must have"`
	Switches      int      `yaml:"switches" doc:"at least so many NVSwitches must have"`
	Architectures []string `yaml:"architectures" doc:"accepted generations, such as HOPPER or BLACKWELL; without it any that is known"`
	Hardware      []string `yaml:"hardware" doc:"ids of the accepted devices, as shown by verify -v"`
	Unmeasured    bool     `yaml:"unmeasured" doc:"accept devices whose reference documents (RIM) are missing"`
	Unchecked     bool     `yaml:"unchecked" doc:"accept certificates without NVIDIA's word (OCSP) that they are not revoked"`
	Hold          bool     `yaml:"hold" doc:"accept certificates that NVIDIA has suspended"`
	Unlinked      bool     `yaml:"unlinked" doc:"accept GPUs in protected PCIe mode without evidence of the NVSwitches between them"`
	Tokens        []string `yaml:"tokens" doc:"keys (JWKS or PEM) of attestation services whose token counts for reference documents and revocation" kind:"path"`
	Issuer        string   `yaml:"issuer" doc:"who must have issued such a token; without it NVIDIA's service"`
}

// policy reads the files of keys and returns the verifier's form.
func (g GPU) policy(read func(path string) []byte) attest.GPUPolicy {
	p := attest.GPUPolicy{
		GPUs: g.Count, Switches: g.Switches, Architectures: g.Architectures, Hardware: g.Hardware,
		Unmeasured: g.Unmeasured, Unchecked: g.Unchecked, Hold: g.Hold, Unlinked: g.Unlinked, Issuer: g.Issuer,
	}
	if g.Required && p.GPUs == 0 {
		p.GPUs = 1
	}
	for _, path := range g.Tokens {
		p.Tokens = append(p.Tokens, read(path))
	}
	return p
}
