package attestd

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
)

// serveAttestation answers a nonce with a fresh quote over it and the TLS key.
func (s *Server) serveAttestation(w http.ResponseWriter, r *http.Request) {
	nonce, refusal := readNonce(r)
	if refusal != nil {
		fail(w, http.StatusBadRequest, refusal)
		return
	}
	a, err := s.attest(r, nonce, r.URL.Query()["binding"])
	if err != nil {
		s.failQuote(w, err)
		return
	}
	writeJSON(w, http.StatusOK, a)
}

// attest quotes over nonce and key, and over the connection where binding asks
// for it.
func (s *Server) attest(r *http.Request, nonce []byte, binding []string) (a vm.Attestation, err error) {
	a = vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: s.key.SPKI}
	var exporter []byte
	switch {
	case len(binding) == 0:
	case len(binding) > 1 || binding[0] != vm.BindingExporter || r.TLS == nil:
		return a, vm.Refuse(vm.CodeInvalid, "there is no such binding").On("binding", fmt.Sprintf("%.40q", binding), vm.BindingExporter)
	default:
		if exporter, err = r.TLS.ExportKeyingMaterial(vm.ExporterLabel, nil, vm.ExporterSize); err != nil {
			return a, fmt.Errorf("export keying material: %w", err)
		}
	}
	a.Exporter = hex.EncodeToString(exporter)
	quoted, err := s.quote(r.Context(), attestation.Question{For: attestation.ForStrangers, Nonce: nonce, Exporter: exporter})
	a.Evidence = quoted.Evidence
	if a.Evidence.TEE != vm.SNP { // its report has no register that they explain; /events has them
		a.Evidence.Events = s.opt.Events
	}
	return a, err
}

func readNonce(r *http.Request) ([]byte, *vm.Refusal) {
	const try = "ask with ?nonce=<hex of 16 to 64 random bytes of your own>"
	values := r.URL.Query()["nonce"]
	if len(values) != 1 {
		return nil, vm.Refuse(vm.CodeInvalid, "the request must carry one nonce").
			On("nonce", strconv.Itoa(len(values))+" values", "1").Try(try)
	}
	if n := len(values[0]); n < 2*vm.MinNonceSize || n > 2*vm.MaxNonceSize {
		return nil, vm.Refuse(vm.CodeInvalid, "the nonce has the wrong length").
			On("nonce", strconv.Itoa(n)+" characters", "32 to 128 hex digits").Try(try)
	}
	nonce, err := hex.DecodeString(values[0])
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "the nonce is not hex").Try(try)
	}
	return nonce, nil
}

// failQuote tells a request that makes no sense from a busy service, and both
// from a failing device; what the device said goes to the log, not to strangers.
func (s *Server) failQuote(w http.ResponseWriter, err error) {
	var refusal *vm.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Code == vm.CodeInvalid:
		fail(w, http.StatusBadRequest, refusal)
	case errors.Is(err, pace.ErrBusy):
		s.failBusy(w)
	default:
		s.opt.Log.Error("quote failed", "error", err)
		fail(w, http.StatusInternalServerError, vm.Refuse(vm.CodeInternal, "the TEE gave no quote").
			Try("the machine's console says why"))
	}
}

// fromEvidence serves a part of the evidence that /cpu shows, which is made
// once a minute. A part of no bytes is absent.
func (s *Server) fromEvidence(w http.ResponseWriter, r *http.Request, contentType, absent string, part func(vm.Evidence) []byte) {
	ev, err := s.cpu.get(r.Context())
	if err != nil {
		s.failQuote(w, err)
		return
	}
	b := part(ev)
	if len(b) == 0 {
		serveAbsent(absent)(w, r)
		return
	}
	write(w, http.StatusOK, contentType, append(b, '\n'))
}

// serveCPU gives the quote as existing verifiers fetch it: of TDX lower-case
// hex, of SEV-SNP base64.
func (s *Server) serveCPU(w http.ResponseWriter, r *http.Request) {
	s.fromEvidence(w, r, typeText, "the TEE gave no quote", quoteText)
}

func quoteText(ev vm.Evidence) []byte {
	if ev.TEE == vm.SNP {
		return base64.StdEncoding.AppendEncode(nil, ev.Quote)
	}
	return hex.AppendEncode(nil, ev.Quote)
}

// serveGPU gives the devices' evidence in the form of a request to NVIDIA's
// attestation service, which existing verifiers read.
func (s *Server) serveGPU(w http.ResponseWriter, r *http.Request) {
	type device struct {
		Certificate []byte `json:"certificate"` // base64 of PEM
		Evidence    []byte `json:"evidence"`
	}
	var request struct {
		Nonce string   `json:"nonce"`
		Arch  string   `json:"arch"`
		List  []device `json:"evidence_list"`
	}
	s.fromEvidence(w, r, typeText, "this machine has no GPU", func(ev vm.Evidence) []byte {
		if ev.GPU == nil {
			return nil
		}
		request.Nonce = hex.EncodeToString(ev.GPU.Nonce)
		for _, d := range ev.GPU.Devices {
			if d.Kind != "gpu" { // the service is asked for switches elsewhere
				continue
			}
			request.Arch = d.Architecture
			request.List = append(request.List, device{d.CertChain, d.Evidence})
		}
		return attestation.Encode(request)
	})
}

// serveCollateral gives what the device brings along of the vendor's: a file
// for secretvm verify --collateral.
func (s *Server) serveCollateral(w http.ResponseWriter, r *http.Request) {
	s.fromEvidence(w, r, typeJSON, "this machine has no collateral: verifiers ask the vendor", func(ev vm.Evidence) []byte {
		switch {
		case ev.Collateral != nil:
			return attestation.Encode(ev.Collateral)
		case ev.AMD != nil:
			return attestation.Encode(ev.AMD)
		}
		return nil
	})
}

// serveSelf lists the registers as text. Offsets are those of a TDX quote of
// version 4 (Intel TDX DCAP Quoting Library API, A.3) and of an SEV-SNP report
// (SEV-SNP ABI specification, table ATTESTATION_REPORT).
func (s *Server) serveSelf(w http.ResponseWriter, r *http.Request) {
	s.fromEvidence(w, r, typeText, "the TEE gave no quote", func(ev vm.Evidence) (out []byte) {
		line := func(name string, value []byte) { out = fmt.Appendf(out, "%s: %x\n", name, value) }
		switch m := s.opt.Measurement; {
		case ev.TEE == vm.SNP && len(ev.Quote) >= 0xe0:
			line("MEASUREMENT", ev.Quote[0x90:0xc0])
			line("HOST_DATA", ev.Quote[0xc0:0xe0])
		case ev.TEE != vm.SNP && len(ev.Quote) >= 112:
			line("TCB_SVN", ev.Quote[48:64])
			line("MRSEAM", ev.Quote[64:112])
			line("MRTD", m.MRTD[:])
			for i, rtmr := range m.RTMR {
				line("RTMR"+strconv.Itoa(i), rtmr[:])
			}
		}
		return out[:max(0, len(out)-1)] // the last line end is added as everywhere
	})
}
