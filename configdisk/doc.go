// Package configdisk is how a workload travels from its host to a machine: the
// measured config, the compose file and an archive of files, as raw bytes whose
// digests are measured, and the host's hints, which nothing measures, on a disk of
// their own.
//
// The guest's first processes link this package: it imports vm and the standard
// library, and treats every input as hostile.
package configdisk
