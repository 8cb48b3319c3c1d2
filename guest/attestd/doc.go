// Package attestd is the attestation service of a machine: an HTTPS server
// whose key is made at boot, lives in memory, and is named by every quote that
// the service hands out. It runs in a process of its own, which has no rights and
// asks guestd (package attestation). Strangers ask it for a fresh quote over their own
// nonce and compare; people read its pages. docs/attestation.md lists what it
// answers, openapi.json says it to programs.
//
// The same paths answer below /.well-known/. Only GET is served. The server
// reveals nothing that the measured config does not open, be it to everybody
// or to the bearers of tokens whose digests are measured. Its work is bounded:
// one quote at a time, a quarter of one processor for all who ask, limits on
// everything a client sends, so that strangers cannot take the machine from the
// workload.
package attestd
