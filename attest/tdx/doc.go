// Package tdx is the layout of Intel TDX quotes, and of SGX quotes, which share
// most of it: bytes to values and back, without any judgement. Whether a quote
// is genuine is package attest's.
//
// All integers are little-endian. The layouts are those of the Intel TDX DCAP
// Quoting Library API, appendix A.3 "Version 4 Quote Format" and A.4 "Version
// 5 Quote Format"; SGX structures follow the Intel SGX ECDSA Quote Library
// Reference, appendix A.4. Encode and Decode are inverse: whatever Decode
// accepts, Encode gives back, but for zero padding behind the quote.
package tdx
