package vm

// Bounds on the caller's nonce, in bytes: enough that nobody guesses it, small
// enough that it costs nothing.
const (
	MinNonceSize = 16
	MaxNonceSize = 64
)

// BindingExporter asks for a quote that binds the very TLS connection over
// which it is asked for (ExporterReportData). The name is that of RFC 9266.
const BindingExporter = "tls-exporter"

// Attestation is the attestation service's answer to one nonce. The quote
// binds the other fields (AttestationReportData, ExporterReportData); alone
// they are claims.
type Attestation struct {
	Nonce    string   `json:"nonce"`              // lower-case hex of the caller's nonce
	TLSKey   Hash     `json:"tls_key"`            // SHA-256 of the serving key's SubjectPublicKeyInfo, DER
	Exporter string   `json:"exporter,omitempty"` // hex of what the connection exports, where the quote binds it
	Evidence Evidence `json:"evidence"`
}
