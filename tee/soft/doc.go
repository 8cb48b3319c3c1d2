// Package soft is the guest's side of the soft TEE: real measurement registers
// and real TDX quote formats without any confidentiality, for development on
// machines that have no TEE. Its quotes are signed below a development root
// that no production policy contains.
//
// The registers are held by a process on the host, which the guest reaches over
// the virtio-serial port named tee.0. Both sides speak frames: a little-endian
// uint32 length, then that many bytes of JSON (Request, Answer), one request
// outstanding at a time. The package holds both ends of the protocol, so that
// they cannot disagree: Device asks, Serve answers.
package soft
