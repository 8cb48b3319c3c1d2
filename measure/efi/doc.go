// Package efi encodes the few UEFI structures whose bytes are measured: GUIDs,
// variables and boot options. All integers are little-endian.
package efi
