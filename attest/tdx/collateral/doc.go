// Package collateral is Intel's signed material around a TDX or SGX quote, as the
// Provisioning Certification Service (PCS) API v4 serves it: TCB info v3 and
// QE identity v2, each a JSON object inside an envelope with its signature.
//
// The signature covers the exact bytes of the inner object, so Open hands them
// out untouched and everything is parsed from them. Matching a platform
// against the TCB levels follows the PCS documentation, "Get TDX TCB Info".
// The package performs no I/O and reads no clock. All errors are *vm.Refusal.
package collateral
