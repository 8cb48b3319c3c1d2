package tdx

import "encoding/binary"

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

// Bytes returns the 384 bytes of the report, which a PCK signs in the case of
// a quoting enclave's.
func (r *EnclaveReport) Bytes() []byte {
	return r.append(make([]byte, 0, enclaveReportSize))
}

func (r *EnclaveReport) append(b []byte) []byte {
	for _, field := range [...][]byte{
		r.CPUSVN[:], r.MiscSelect[:], r.Reserved1[:], r.ISVExtProdID[:], r.Attributes[:], r.MREnclave[:], r.Reserved2[:],
		r.MRSigner[:], r.Reserved3[:], r.ConfigID[:],
	} {
		b = append(b, field...)
	}
	b = binary.LittleEndian.AppendUint16(b, r.ISVProdID)
	b = binary.LittleEndian.AppendUint16(b, r.ISVSVN)
	b = binary.LittleEndian.AppendUint16(b, r.ConfigSVN)
	b = append(b, r.Reserved4[:]...)
	b = append(b, r.ISVFamilyID[:]...)
	return append(b, r.ReportData[:]...)
}

// decode reads the first 384 bytes of b, which must be there.
func (r *EnclaveReport) decode(b []byte) {
	for _, field := range [...][]byte{
		r.CPUSVN[:], r.MiscSelect[:], r.Reserved1[:], r.ISVExtProdID[:], r.Attributes[:], r.MREnclave[:], r.Reserved2[:],
		r.MRSigner[:], r.Reserved3[:], r.ConfigID[:],
	} {
		b = take(b, field)
	}
	r.ISVProdID = binary.LittleEndian.Uint16(b)
	r.ISVSVN = binary.LittleEndian.Uint16(b[2:])
	r.ConfigSVN = binary.LittleEndian.Uint16(b[4:])
	b = take(b[6:], r.Reserved4[:])
	b = take(b, r.ISVFamilyID[:])
	take(b, r.ReportData[:])
}
