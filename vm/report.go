package vm

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Domain labels of report_data preimages. A quote made for one purpose means
// nothing for another.
const (
	labelAttestation = "secretvm/v1/attestation"
	labelExporter    = "secretvm/v1/attestation-exporter"
	labelRelease     = "secretvm/v1/release"
	labelGPU         = "secretvm/v1/gpu"
	labelWorkload    = "secretvm/v1/workload"
	labelAdmission   = "secretvm/v1/admission"

	labelApplication      = "secretvm/v1/application"
	labelApplicationEvent = "secretvm/v1/application-event"
)

// LabelSigned begins every message that is signed in a domain (SignedMessage).
const LabelSigned = "secretvm/v1/signed-message"

// AttestationReportData binds a fresh quote to the TLS key that serves it and
// to the caller's nonce: SHA-512 over label, spki (SHA-256 of the DER of the
// certificate's SubjectPublicKeyInfo) and nonce, each length-prefixed.
func AttestationReportData(spki Hash, nonce []byte) [64]byte {
	return sha512.Sum512(lengthPrefixed([]byte(labelAttestation), spki[:], nonce))
}

// Keying material that a TLS 1.3 connection exports for channel binding: its
// label, without context, and its size in bytes (RFC 9266, 4). Both ends compute
// the same, and nobody in between can make two connections agree.
const (
	ExporterLabel = "EXPORTER-Channel-Binding"
	ExporterSize  = 32
)

// ExporterReportData is AttestationReportData for one connection: exporter is
// the keying material that it exports; none: AttestationReportData. Who has the
// machine's TLS key, but is not the machine, cannot pass such a quote on.
func ExporterReportData(spki Hash, nonce, exporter []byte) [64]byte {
	if len(exporter) == 0 {
		return AttestationReportData(spki, nonce)
	}
	return sha512.Sum512(lengthPrefixed([]byte(labelExporter), spki[:], nonce, exporter))
}

// GPUNonce is the nonce that NVIDIA devices answer when their evidence goes
// with a quote over the given report data: SHA-256 over label and report data,
// each length-prefixed.
func GPUNonce(reportData [64]byte) [32]byte {
	return sha256.Sum256(lengthPrefixed([]byte(labelGPU), reportData[:]))
}

// Release is what a machine's quote says when it asks the KMS for keys.
type Release struct {
	ChainID    string
	BlockHash  Hash
	InstanceID string
	HPKEKey    []byte // public key that answers are sealed to
	SessionKey []byte // Ed25519 public key that signs later messages, 32 bytes
}

// ReportData is SHA-512 over the label and each field, length-prefixed.
func (r Release) ReportData() [64]byte {
	return sha512.Sum512(lengthPrefixed([]byte(labelRelease), []byte(r.ChainID), r.BlockHash[:],
		[]byte(r.InstanceID), r.HPKEKey, r.SessionKey))
}

// ContractReportData is what a machine quotes when it asks the contract of
// existing machines (ProviderSecretNetwork) for keys: the X25519 public key that
// answers are sealed to, the instance id, 16 zeros. No label tells it from other
// quotes: whoever may ask for one must not choose the key.
func ContractReportData(public []byte, instanceID string) (out [64]byte, err error) {
	uid, err := hex.DecodeString(instanceID)
	if err != nil || len(uid) != 16 || len(public) != 32 {
		return out, fmt.Errorf("instance id %q is not 16 bytes in hex", instanceID)
	}
	copy(out[:], public)
	copy(out[32:], uid)
	return out, nil
}

// WorkloadReportData is what a quote says that a container asked for about its
// own data, at most 64 bytes: SHA-512 over label and data, length-prefixed. The
// label keeps containers from quotes that mean something else, a Release above
// all.
func WorkloadReportData(data []byte) [64]byte {
	return sha512.Sum512(lengthPrefixed([]byte(labelWorkload), data))
}

// Admission is what a machine's workload quotes to become a node of the KMS.
type Admission struct {
	ChainID      string
	BlockHash    Hash
	InstanceID   string
	Operator     string // account that runs the node
	Relay        string // account that the node signs with
	ConsensusKey []byte // Ed25519 public key of the validator, 32 bytes
	SealingKey   []byte // HPKE public key that shares are sealed to
}

// Data is what the workload asks a quote about: SHA-512 over the label and each
// field, length-prefixed.
func (a Admission) Data() [64]byte {
	return sha512.Sum512(lengthPrefixed([]byte(labelAdmission), []byte(a.ChainID), a.BlockHash[:], []byte(a.InstanceID),
		[]byte(a.Operator), []byte(a.Relay), a.ConsensusKey, a.SealingKey))
}

// ReportData is what the quote says: WorkloadReportData of Data.
func (a Admission) ReportData() [64]byte {
	data := a.Data()
	return WorkloadReportData(data[:])
}

// lengthPrefixed joins parts, each behind its length as a big-endian uint32,
// so that no two lists of parts give the same bytes.
func lengthPrefixed(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}
