// Package measure predicts what a machine measures at launch, from the very
// files and the shape that QEMU is given. It is a pure function: no clock, no
// network, no files, no processes.
//
// A prediction is an event list first and registers second: each event names
// its register, what was measured and the digest, so that a difference can be
// explained event by event. Folding the list gives RTMR0 to RTMR2; MRTD is
// measured by the TDX module itself and is computed beside it.
//
// What firmware and VMM do in which version is data (Profile), chosen by the
// versions that the image locks and never by what a host declares.
//
// Events come in the order of the machine's own log (CCEL), and can be encoded
// as one: Log.CCEL.
package measure
