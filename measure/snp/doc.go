// Package snp predicts the launch digest of an SEV-SNP machine: the
// MEASUREMENT of its attestation reports. It is a pure function of the
// firmware, the SHA-256 of kernel, initrd and command line (with QEMU's
// kernel-hashes=on), and the initial state of the virtual CPUs.
//
// The firmware may be given as an image (ParseFirmware) or as what somebody
// recorded of it: its digest, its sections and its two addresses. Both forms
// lead to the same prediction, so a registry need not carry images.
//
// How the digest grows page by page is in AMD's SEV-SNP firmware ABI
// specification (56860), 8.17.2; which pages there are, and in which order, is
// the VMM's choice (VMM).
package snp
