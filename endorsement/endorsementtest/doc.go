// Package endorsementtest runs the vendors' services on this machine, for
// tests: a PCS or PCCS, AMD's KDS, NVIDIA's manifest service and responder,
// with the paths, headers and encodings of the real ones, serving what it is
// given. Faults can be set: errors, delays, cut and oversized answers, web
// pages, redirect loops.
package endorsementtest
