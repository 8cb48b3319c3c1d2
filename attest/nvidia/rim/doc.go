// Package rim reads NVIDIA's reference integrity manifests: SWID tags after
// ISO/IEC 19770-2 and the TCG's RIM information model, which list the
// measurements that a driver or a VBIOS makes on a sound device, under an
// enveloped XML signature.
//
// XML is read by a parser of its own that knows just what these documents use,
// and refuses the rest: no DTD, comment, processing instruction, CDATA section
// or character reference, hence nothing that can be expanded, fetched or
// understood in two ways. What is canonicalised and hashed is the same tree
// that the facts are taken from, and the one reference must be to the whole
// document; a signature cannot be wrapped or moved.
//
// All errors are *vm.Refusal.
package rim
