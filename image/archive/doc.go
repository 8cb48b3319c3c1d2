// Package archive reads Debian archives as apt does: mirrors from apt's own
// configuration, Release files verified with the archive's OpenPGP keys, Packages
// indexes verified by SHA-256, dependencies resolved to a closure. Refresh turns
// a list of wanted packages into a lock.
package archive
