// Package oci builds the container images that a workload's folder describes in
// images.yaml: from Go source with the pinned toolchain, or from files of locked
// Debian packages. No container engine takes part, and the bytes depend on the
// sources, the lock and this package only: the digests can be written into the
// compose file once, and anybody who builds gets the same.
//
// The result is an OCI image layout (OCI Image Format Specification 1.1), a
// folder that package registry serves at Host.
package oci
