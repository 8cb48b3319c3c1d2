// Package ocsp reads answers of the Online Certificate Status Protocol
// (RFC 6960), which say whether NVIDIA has revoked a certificate, and makes the
// requests for them. It fetches nothing: answers travel with the evidence.
//
// An answer counts when the certificate's issuer signed it, or a CA above, or a
// responder which one of these appointed (id-kp-OCSPSigning). All errors are
// *vm.Refusal.
package ocsp
