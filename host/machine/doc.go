// Package machine keeps one virtual machine on this host: the folder with what
// must survive it (Folder: instance id and disk), and its life from start to
// power-off (Start, Running).
//
// It starts two processes, the emulator and, for soft machines, the soft TEE
// behind the guest's virtio-serial port. Both end with this process.
package machine
