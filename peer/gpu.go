package peer

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/secretvm/secretvm/vm"
)

// GPUEvidence reads what GET /gpu serves, the request of NVIDIA's remote
// attestation service: nonce, architecture, and per device the measurements
// and certificates in base64. No answer, and one that names an error, mean
// that the machine has no GPU.
func (s Served) GPUEvidence() (*vm.GPUEvidence, error) {
	var request struct {
		Nonce string          `json:"nonce"`
		Arch  string          `json:"arch"`
		Error json.RawMessage `json:"error"`
		List  []struct {
			Certificate string `json:"certificate"`
			Evidence    string `json:"evidence"`
		} `json:"evidence_list"`
	}
	if len(s.GPU) == 0 || json.Unmarshal(s.GPU, &request) != nil || request.Error != nil || request.List == nil {
		return nil, nil
	}
	malformed := func(what string) error {
		return vm.Refuse(vm.CodeMalformed, "the machine's GPU evidence cannot be read: %s", what)
	}
	if len(request.List) > vm.MaxGPUs {
		return nil, vm.Refuse(vm.CodeTooLarge, "the machine shows evidence of %d GPUs, want at most %d", len(request.List), vm.MaxGPUs)
	}
	nonce, err := hex.DecodeString(request.Nonce)
	if err != nil {
		return nil, malformed("its nonce is not hex")
	}
	out := &vm.GPUEvidence{Nonce: nonce}
	for _, device := range request.List {
		evidence, err := base64.StdEncoding.DecodeString(device.Evidence)
		if err != nil {
			return nil, malformed("evidence is not base64")
		}
		chain, err := base64.StdEncoding.DecodeString(device.Certificate)
		if err != nil {
			return nil, malformed("certificates are not base64")
		}
		out.Devices = append(out.Devices, vm.GPUDevice{Kind: "gpu", Architecture: request.Arch, Evidence: evidence, CertChain: chain})
	}
	return out, nil
}
