// Package firmware builds secretvm's own firmware: OVMF from Debian's edk2 source,
// less all that a machine with a kernel given by QEMU has no use for. There are
// two platforms: one for Intel TDX, which the soft TEE boots as well, and one
// for AMD SEV-SNP, whose loader takes no blob but those in the table of hashes.
//
// The same bytes come out everywhere: sources and tools are locked, the build
// sees only them, always at the same path, and the SHA-256 of the result is
// part of this repository.
package firmware
