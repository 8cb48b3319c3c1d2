// Package verification answers a stranger's question: is the machine behind
// this TLS connection genuine, and is it the one I want? Fetch talks to the
// machine's attestation service over one connection; Appraise is pure: it lets
// package attest decide whether the evidence is genuine, then compares what
// was measured with what the caller wanted, one Check a subject. What the
// caller did not say is reported as a fact and never as a success.
package verification
