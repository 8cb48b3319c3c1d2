// Package decision is how the chain decides whether a machine may have keys: a
// pure function from a request and what the chain knows to a grant's content or
// a refusal that says which part differs.
//
// It knows no Cosmos SDK, reads no clock and keeps no state, so that it can be
// read, tested and fuzzed by itself. Package attest decides what is genuine;
// this package decides whether that is what the owner registered.
package decision
