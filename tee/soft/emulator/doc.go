// Package emulator is the host's side of the soft TEE: it keeps the
// measurement registers of one machine and answers extend, read and quote
// (package soft has the protocol).
//
// Its quotes are real TDX version 4 quotes, with collateral in the very formats
// of Intel's provisioning service, signed below a development root that each
// installation makes for itself. They pass package attest through the same
// code as Intel's; only the root differs, and every certificate says whose it
// is: "secretvm development – INSECURE". There is no confidentiality: the host
// holds every key.
package emulator
