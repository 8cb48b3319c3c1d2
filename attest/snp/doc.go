// Package snp reads SEV-SNP attestation reports and the certificates around
// them, and checks who signed what: a chip's endorsement key (VCEK, or the
// VLEK that a cloud provider loads) signs the report, AMD's SEV signing key of
// the product (ASK, ASVK) signs that key's certificate, and AMD's root key of
// the product (ARK) signs that one and the revocation list.
//
// Formats are those of the SEV-SNP Firmware ABI Specification (AMD publication
// 56860), tables "ATTESTATION_REPORT" and "TCB_VERSION", and of the VCEK
// Certificate and KDS Interface Specification (57230). Every key of AMD's is
// RSA-4096 with PSS and SHA-384, every endorsement key is on P-384; anything
// else is refused. All multi-byte numbers of a report are little-endian.
//
// The package performs no I/O and reads no clock. All errors are *vm.Refusal.
// What is good enough is not decided here but by package attest and its policy.
package snp
