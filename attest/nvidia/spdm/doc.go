// Package spdm reads what an NVIDIA GPU or NVSwitch signs about itself: an
// SPDM 1.1 GET_MEASUREMENTS request followed by the MEASUREMENTS response to
// it (DMTF DSP0274 1.1, 10.11), as NVIDIA's attestation SDK records the pair.
// The device signs both together, so the nonce of the request is under its
// signature. Versions and SKUs are in the response's opaque data, a list of
// NVIDIA's own.
//
// Integers are little-endian. Encode gives the bytes that Decode accepted, but
// for zeros behind them. All errors are *vm.Refusal.
package spdm
