// Package peer recognises machines of other systems by what genuine evidence
// proves of them: existing SecretVM images, on TDX and SEV-SNP, and dstack.
//
// It is pure, and believes nobody. What a machine's endpoints serve (Served)
// counts only where a measurement follows from it. Images are known from
// registries that the caller brings; they are as good as the place where the
// caller took them from. None is built in and none is ever fetched: an image
// that is not listed is not known.
package peer
