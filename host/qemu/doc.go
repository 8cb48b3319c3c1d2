// Package qemu knows the emulator: which arguments make a machine of a given
// shape (Hardware, Machine.Arguments), where the binary is (Binary), and how to
// talk to it while it runs (QMP).
//
// What the guest can see of its hardware follows from the TEE and the vm.Shape
// alone, because the same two values predict its registers. Paths, sockets and
// port numbers are back ends, which no measurement contains.
package qemu
