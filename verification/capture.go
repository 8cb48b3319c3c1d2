package verification

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// Form names what a file of evidence is.
type Form string

// The forms that Recognise knows.
const (
	FormAttestation Form = "attestation of secretvm (JSON)"
	FormEvidence    Form = "evidence of secretvm (JSON)"
	FormTDX         Form = "TDX quote"
	FormSGX         Form = "SGX quote"
	FormSNP         Form = "SEV-SNP attestation report"
	FormDstack      Form = "dstack quote with its event log (JSON)"
	FormContainer   Form = "dstack attestation"
)

// MaxCaptureSize bounds a file of evidence, in bytes.
const MaxCaptureSize = maxAnswerSize

// Layout of what is told apart by its first bytes.
const (
	sizeSNPReport   = 1184 // SEV-SNP ABI specification, table "ATTESTATION_REPORT"
	offsetSNPAlgo   = 0x34 // signature algorithm: 1 is ECDSA P-384 with SHA-384
	teeTypeSGX      = 0
	teeTypeTDX      = 0x81
	sizeQuoteHeader = 48
)

// Recognise reads evidence in any form that a file of it has: an attestation
// or evidence of secretvm (JSON), a DCAP quote (TDX version 4 or 5, SGX version
// 3), an SEV-SNP report, dstack's JSON; quotes and reports raw, in hexadecimal
// or in base64. The answer has no connection. A bundle is for OpenBundle.
func Recognise(b []byte) (Answer, Form, error) {
	if len(b) > MaxCaptureSize {
		return Answer{}, "", vm.Refuse(vm.CodeTooLarge, "the file has %d bytes, want at most %d", len(b), MaxCaptureSize)
	}
	if text := bytes.TrimSpace(b); len(text) > 0 && text[0] == '{' {
		return recogniseJSON(text)
	}
	if a, form, ok := recogniseBinary(b); ok {
		return a, form, nil
	}
	if a, ok, err := recogniseCertificate(b); ok {
		return a, FormCertificate, err
	}
	if raw, ok := DecodeText(b); ok {
		if a, form, ok := recogniseBinary(raw); ok {
			return a, form, nil
		}
	}
	return Answer{}, "", unrecognised("")
}

func unrecognised(why string) *vm.Refusal {
	return vm.Refuse(vm.CodeMalformed, "the file is no evidence that secretvm knows%s", why).
		Try("it reads a bundle, the JSON of GET /attestation, TDX, SGX and SEV-SNP quotes (raw, hex, base64), RA-TLS certificates and dstack's JSON")
}

// DecodeText reads hexadecimal (0x in front or not) or base64, in quotation
// marks or not, with line ends anywhere.
func DecodeText(b []byte) ([]byte, bool) {
	text := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\n', '\r', '\t', '"':
			return -1
		}
		return r
	}, string(b))
	if raw, err := hex.DecodeString(strings.TrimPrefix(text, "0x")); err == nil && len(raw) > 0 {
		return raw, true
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(text); err == nil && len(raw) > 0 {
			return raw, true
		}
	}
	return nil, false
}

// recogniseBinary tells raw forms apart by the fields that must be fixed.
func recogniseBinary(b []byte) (Answer, Form, bool) {
	evidence := func(tee vm.TEE, form Form) (Answer, Form, bool) {
		return Answer{Attestation: vm.Attestation{Evidence: vm.Evidence{TEE: tee, Quote: b}}}, form, true
	}
	if b = azure(b); len(b) < sizeQuoteHeader {
		return Answer{}, "", false
	}
	version, keyType, teeType := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
	switch {
	case peer.IsAttestation(b):
		a, err := answerOfContainer(b)
		return a, FormContainer, err == nil
	case (version == 4 || version == 5) && teeType == teeTypeTDX && (keyType == 2 || keyType == 3):
		return evidence(vm.TDX, FormTDX)
	case version == 3 && teeType == teeTypeSGX && (keyType == 2 || keyType == 3) && !isSNP(b):
		return evidence(vm.SGX, FormSGX)
	case isSNP(b):
		return evidence(vm.SNP, FormSNP)
	}
	return Answer{}, "", false
}

// azure returns the SEV-SNP report inside a report of Azure's paravisor, which
// begins with "HCLA" and has the report behind 32 bytes; other bytes as they
// are.
func azure(b []byte) []byte {
	const head = 32
	if !bytes.HasPrefix(b, []byte("HCLA")) || len(b) < head+sizeSNPReport || !isSNP(b[head:head+sizeSNPReport]) {
		return b
	}
	return b[head : head+sizeSNPReport]
}

func isSNP(b []byte) bool {
	if len(b) < sizeSNPReport {
		return false
	}
	version := binary.LittleEndian.Uint32(b)
	return version >= 1 && version <= 5 && binary.LittleEndian.Uint32(b[offsetSNPAlgo:]) == 1
}

// recogniseJSON tells documents apart by the fields that they have.
func recogniseJSON(b []byte) (Answer, Form, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return Answer{}, "", unrecognised(fmt.Sprintf(": %.200q", err.Error()))
	}
	has := func(name string) bool { return fields[name] != nil }
	switch {
	case has("evidence") && (has("data") || has("register")):
		return recogniseContainerQuote(b)
	case has("evidence"):
		at, err := ParseAttestation(b)
		if err != nil {
			return Answer{}, "", err
		}
		return Answer{Attestation: at}, FormAttestation, nil
	case has("tee") && has("quote"):
		wrapped, _ := json.Marshal(map[string]json.RawMessage{"evidence": b}) // b was valid just now
		at, err := ParseAttestation(wrapped)
		if err != nil {
			return Answer{}, "", err
		}
		return Answer{Attestation: at}, FormEvidence, nil
	case has("quote"):
		return recogniseDstack(fields)
	case has("attestation"):
		return recogniseContainer(fields["attestation"])
	}
	return Answer{}, "", unrecognised(": a JSON document without evidence")
}

// recogniseDstack reads what dstack's agent answers to GetQuote: quote in hex,
// event log as JSON in a string. The log is kept as it is, in Answer.Log.
func recogniseDstack(fields map[string]json.RawMessage) (Answer, Form, error) {
	var text, log string
	if err := json.Unmarshal(fields["quote"], &text); err != nil {
		return Answer{}, "", unrecognised(": its quote is no text")
	}
	raw, ok := DecodeText([]byte(text))
	if !ok {
		return Answer{}, "", unrecognised(": its quote is neither hex nor base64")
	}
	a, form, ok := recogniseBinary(raw)
	if !ok {
		return Answer{}, "", unrecognised(": its quote is none")
	}
	if fields["event_log"] == nil {
		return a, form, nil
	}
	if err := json.Unmarshal(fields["event_log"], &log); err != nil {
		return Answer{}, "", unrecognised(": its event_log is no text")
	}
	a.Log, a.Served = []byte(log), servedByDstack(fields)
	return a, FormDstack, nil
}
