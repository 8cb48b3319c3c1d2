// Package image builds the machine image: from a specification, a lock of
// Debian packages and this source tree to firmware, kernel, initramfs, root file
// system with its dm-verity tree, and the manifest that describes them. Nothing
// of the host goes into an image: no tool, no clock, no user, no path.
package image
