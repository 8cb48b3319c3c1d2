// Package nvidia verifies what NVIDIA GPUs and NVSwitches in confidential mode
// show about themselves, offline: evidence, reference documents, revocation
// answers, roots and a time go in, facts or a refusal come out.
//
// For each device: its certificate chain ends in NVIDIA's device identity root
// and none of it is revoked; the key that its firmware attests with signed the
// report, over the verifier's nonce; and the measurements in the report are
// those that NVIDIA's signed reference documents list for that very driver and
// firmware. All devices answer the same nonce, and no device appears twice.
//
// The package does not know what the nonce stands for: package attest binds it
// to the CPU's evidence.
package nvidia
