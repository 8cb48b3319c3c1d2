package exhibit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// gpuFile decodes the evidence of GPUs alone: the request to NVIDIA's service,
// or the list that NVIDIA's library writes.
func gpuFile(b []byte) (Exhibit, bool) {
	if text := bytes.TrimSpace(b); bytes.HasPrefix(text, []byte("[")) {
		b = append(append([]byte(`{"evidence_list":`), text...), '}')
	}
	if !bytes.Contains(b, []byte(`"evidence_list"`)) {
		return Exhibit{}, false
	}
	var f struct {
		Nonce string `json:"nonce"`
		Arch  string `json:"arch"`
		List  []struct {
			Arch        string `json:"arch"`
			Nonce       string `json:"nonce"`
			Evidence    []byte `json:"evidence"`
			Certificate []byte `json:"certificate"`
		} `json:"evidence_list"`
	}
	if json.Unmarshal(b, &f) != nil || len(f.List) == 0 || len(f.List) > vm.MaxGPUs {
		return Exhibit{}, false
	}
	var g vm.GPUEvidence
	for _, d := range f.List {
		if f.Arch == "" {
			f.Arch, f.Nonce = d.Arch, d.Nonce
		}
		g.Devices = append(g.Devices, vm.GPUDevice{Kind: "gpu", Architecture: f.Arch, Evidence: d.Evidence, CertChain: d.Certificate})
	}
	g.Nonce, _ = hex.DecodeString(f.Nonce) // shown empty where it is none
	return Exhibit{"evidence of NVIDIA GPUs (JSON)", gpuSections(g)}, true
}

func gpuSections(g vm.GPUEvidence) (sections []Section) {
	all := Section{Title: "NVIDIA devices"}
	all.row("nonce", "%x", g.Nonce)
	all.row("devices", "%d", len(g.Devices))
	for _, b := range g.RIMs {
		product, version, err := rim.Claim(b)
		if err != nil {
			all.unread("reference document", err)
			continue
		}
		all.row("reference", "%s %s", product, version)
	}
	if len(g.OCSP) > 0 {
		all.row("OCSP answers", "%d", len(g.OCSP))
	}
	if len(g.Token) > 0 {
		all.row("token", "%d bytes", len(g.Token))
	}
	sections = append(sections, all)
	for i, d := range g.Devices {
		s := Section{Title: fmt.Sprintf("%s %d", d.Kind, i+1)}
		s.row("architecture", "%s", d.Architecture)
		r, err := spdm.Decode(d.Evidence)
		if err != nil {
			s.unread("SPDM report", err)
		} else {
			s.spdm(r)
		}
		sections = append(sections, s, certificates(fmt.Sprintf("Certificates of %s %d", d.Kind, i+1), d.CertChain))
	}
	return sections
}

func (s *Section) spdm(r spdm.Report) {
	s.row("nonce answered", "%x", r.RequestNonce)
	if text, err := r.Opaque.Text(spdm.FieldDriver); err == nil {
		s.row("driver", "%s", text)
	}
	if text, err := r.Opaque.VBIOS(); err == nil {
		s.row("VBIOS", "%s", text)
	}
	for _, b := range r.Blocks {
		s.row(fmt.Sprintf("measurement %d", int(b.Index)-1), "%x", b.Value)
	}
}
