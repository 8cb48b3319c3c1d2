// Package pki checks Intel's provisioning certificates: chains from a PCK or
// TCB signing certificate to a root, their CRLs, and the SGX extensions that a
// PCK certificate carries (Intel SGX PCK Certificate and Certificate
// Revocation List Profile Specification, revision 1.5).
//
// Every certificate of this PKI has a P-256 key and an ECDSA-SHA256 signature;
// anything else is refused, which keeps verification independent of what else
// crypto/x509 supports. Roots, time and CRLs are inputs: the package performs
// no I/O and reads no clock, because a blockchain runs it. All errors are
// *vm.Refusal.
package pki
