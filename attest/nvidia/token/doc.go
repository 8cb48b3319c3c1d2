// Package token reads the answers of NVIDIA's remote attestation service
// (NRAS): a detached Entity Attestation Token (RFC 9711), which is one signed
// statement about a machine and one about each device. Every statement is a
// JWT (RFC 7519) signed with ES384, and the first names the others by digest.
//
// Keys and time are inputs, keys are never fetched; a token is someone's word,
// and only as good as the key. All errors are *vm.Refusal.
package token
