// Package endorsement finds what vendors sign about their platforms, so that
// evidence can be judged: Intel's collateral (PCS, or a PCCS in between),
// AMD's certificates (KDS), NVIDIA's reference manifests and OCSP answers.
//
// It looks into archives that were carried here, then into a cache, and only
// then asks the vendors' services, whose addresses can be configured. Complete
// puts what it found into evidence. What evidence brings along is kept.
//
// This is the edge: network, disk and clock are here, and judging is not.
// Nothing that is found is believed, the cache included; package attest
// checks every signature and date, and its policy says what grace there is for
// old collateral. So a service that is down costs nothing while what was found
// before still holds, and a service that lies costs a refusal.
package endorsement
