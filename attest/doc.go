// Package attest is the verifier: it says whether evidence is genuine, what
// the machine measured, and in which state its platform is. It never says
// whether that is what anybody wanted; comparing is the caller's.
//
// Verification is pure. Evidence, roots, policy and time go in, a verdict or a
// refusal comes out; there is no network, no clock, no file and no state, so a
// blockchain can run the very code that a stranger's laptop runs, and both
// agree. Work is bounded by the limits in package vm before anything is
// parsed. A Verifier says the same as Verify, faster: it remembers what it has
// found genuine.
//
// Each kind of evidence has files of its own (tdx*.go, sgx*.go, snp*.go,
// gpu*.go); the formats and certificates below it are in attest/tdx,
// attest/snp and attest/nvidia.
package attest
