// Package attestd is the attestation service of a machine: an HTTPS server
// whose key is made at boot, lives in memory, and is named by every quote that
// the service hands out. Strangers ask it for a fresh quote over their own
// nonce and compare; people read its page.
//
//	/                    page for people (package web)
//	/status              boot steps, uptime, state of the workload (JSON)
//	/attestation?nonce=  fresh quote, events, collateral (vm.Attestation, JSON)
//	/cpu                 quote in hex; report data = SHA-256 of the key, 32 zero bytes
//	/config              canonical vm.Config (JSON)
//	/events              runtime events (JSON)
//	/docker-compose      the compose file, byte for byte, if the config opens it
//	/healthz             "ok"
//
// The same paths answer below /.well-known/. Only GET is served. The server
// reveals nothing that the measured config does not open, and its work is
// bounded: one quote at a time, a short queue, limits on everything a client
// sends, so that strangers cannot take the processor from the workload.
package attestd
