// Package verification answers a stranger's question: is the machine behind
// this TLS connection genuine, and is it the one I want? Appraise is pure: it
// lets package attest decide whether the evidence is genuine, then compares
// what was measured with what the caller wanted, one Check a subject. What the
// caller did not say is reported as a fact and never as a success. Answers
// come from a machine (package fetch), a bundle or a file. The package does no
// I/O, so that a browser runs the very same code.
package verification
