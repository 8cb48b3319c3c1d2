package vm

// Bounds on the caller's nonce, in bytes: enough that nobody guesses it, small
// enough that it costs nothing.
const (
	MinNonceSize = 16
	MaxNonceSize = 64
)

// Attestation is the attestation service's answer to one nonce. The quote
// binds both other fields (AttestationReportData); alone they are claims.
type Attestation struct {
	Nonce    string   `json:"nonce"`   // lower-case hex of the caller's nonce
	TLSKey   Hash     `json:"tls_key"` // SHA-256 of the serving key's SubjectPublicKeyInfo, DER
	Evidence Evidence `json:"evidence"`
}
