// Package disk tests data disks where there is a kernel: it boots the image's
// kernel, drivers and tools in QEMU with a first process of its own (inside), cuts
// the power, changes what lies on the disk, and looks at what the next boot finds.
//
// The power is cut for real: every write and every flush of the machine goes
// through QEMU's log of writes as well. Of what was written after the last flush a
// random part is kept and the rest is lost, as with a disk's cache.
package disk
