// Package tdx computes what a TDX launch measures before any guest code runs
// (MRTD), and the hand-off block that QEMU writes and the firmware measures.
package tdx
