// Package linuxboot computes what OVMF and the Linux EFI stub measure of a
// kernel that QEMU hands over directly (-kernel): the kernel's Authenticode
// digest, its load options, its initial RAM disk.
package linuxboot
