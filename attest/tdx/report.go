package tdx

const enclaveReportSize = 384

// EnclaveReport is the body of an SGX report, 384 bytes (Intel SGX ECDSA Quote
// Library Reference, A.4 "Enclave Report Body"). In a TDX quote it is the
// quoting enclave's, and ReportData binds the attestation key. The number
// behind each field is its offset.
type EnclaveReport struct {
	CPUSVN       [16]byte // 0
	MiscSelect   [4]byte  // 16
	Reserved1    [12]byte // 20
	ISVExtProdID [16]byte // 32
	Attributes   [16]byte // 48
	MREnclave    [32]byte // 64
	Reserved2    [32]byte // 96
	MRSigner     [32]byte // 128
	Reserved3    [32]byte // 160
	ConfigID     [64]byte // 192
	ISVProdID    uint16   // 256
	ISVSVN       uint16   // 258
	ConfigSVN    uint16   // 260
	Reserved4    [42]byte // 262
	ISVFamilyID  [16]byte // 304
	ReportData   [64]byte // 320: SHA-256(attestation key ‖ authentication data) ‖ 32 zero bytes
}

// Bytes returns the 384 bytes that the PCK signs.
func (r EnclaveReport) Bytes() []byte { return mustAppend(nil, r) }

func decodeEnclaveReport(b []byte) (r EnclaveReport) {
	mustDecode(b[:enclaveReportSize], &r)
	return r
}
