// Package registry serves a folder of container images over HTTP on the
// loopback interface, for machines that run on this computer. It knows pulling
// and nothing else (OCI Distribution Specification 1.1, "Pull"): whatever asks
// cannot change what it serves. Contents need no trust, as compose files pin
// them by digest.
package registry
