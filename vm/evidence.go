package vm

import "time"

// Measurement is the set of identity registers of a TD.
type Measurement struct {
	MRTD       Register    `json:"mrtd"`
	RTMR       [4]Register `json:"rtmr"`
	MRConfigID Register    `json:"mr_config_id"`
}

// Bounds on what a verifier reads, in bytes.
const (
	MaxQuoteSize      = 16 << 10
	MaxCollateralSize = 256 << 10
	MaxEventsSize     = 64 << 10
)

// Evidence is what a machine shows: a quote, the events that explain its
// registers, and, where the machine has it, the collateral to check the quote.
type Evidence struct {
	TEE        TEE         `json:"tee"`              // a hint; the trust anchor decides
	Quote      []byte      `json:"quote"`            // TDX: DCAP quote, v4 or v5
	Events     []Event     `json:"events,omitempty"` // runtime events (RTMR3), in order
	Collateral *Collateral `json:"collateral,omitempty"`
}

// Collateral is Intel's signed material around a quote, as PCS serves it.
type Collateral struct {
	PCKCRL          []byte `json:"pck_crl"`           // DER
	PCKCRLChain     []byte `json:"pck_crl_chain"`     // PEM: issuer, root
	RootCACRL       []byte `json:"root_ca_crl"`       // DER
	TCBInfo         []byte `json:"tcb_info"`          // the whole JSON answer: {"tcbInfo":…,"signature":…}
	TCBInfoChain    []byte `json:"tcb_info_chain"`    // PEM: signer, root
	QEIdentity      []byte `json:"qe_identity"`       // the whole JSON answer: {"enclaveIdentity":…,"signature":…}
	QEIdentityChain []byte `json:"qe_identity_chain"` // PEM: signer, root
}

// Verdict is what a verifier learnt from genuine evidence. It says nothing
// about whether that is what anybody wanted: comparing is the caller's.
type Verdict struct {
	TEE         TEE         `json:"tee"`
	Measurement Measurement `json:"measurement"`
	ReportData  []byte      `json:"report_data"` // 64 bytes
	Attributes  uint64      `json:"attributes"`  // TD attributes; DEBUG is refused before
	XFAM        uint64      `json:"xfam"`
	TCBStatus   string      `json:"tcb_status"` // Intel's word: UpToDate, OutOfDate …
	Advisories  []string    `json:"advisories,omitempty"`
	FMSPC       string      `json:"fmspc"`
	Anchor      Anchor      `json:"anchor"`
	ValidUntil  time.Time   `json:"valid_until"` // the earliest nextUpdate or notAfter that was relied upon
	Events      []Event     `json:"events,omitempty"`
}

// Anchor is the root certificate that a verdict rests on.
type Anchor struct {
	Subject string `json:"subject"`
	SHA256  Hash   `json:"sha256"` // of the certificate's DER
	Intel   bool   `json:"intel"`  // whether it is Intel's production SGX root CA
}
