// Package snptest makes SEV-SNP reports and the certificates around them, for
// tests: a root, an issuer and an endorsement key of a development PKI, so
// that reports which are well signed and still wrong can be made. Nothing
// trusts it unless its root is named.
package snptest
