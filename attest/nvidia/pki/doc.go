// Package pki checks NVIDIA's certificate chains: those of devices, and those
// of whoever signs reference documents. Every certificate there has a P-384
// key and an ECDSA-SHA384 signature; only revocation answers may also come from
// P-256. Roots and time are inputs. All errors are *vm.Refusal.
package pki
