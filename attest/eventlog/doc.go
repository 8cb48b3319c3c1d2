// Package eventlog reads the logs that explain a machine's registers: the
// firmware's CCEL (TCG PC Client Platform Firmware Profile, crypto-agile
// format, with the registers of UEFI 2.10, 38.4 in place of PCRs) and the JSON
// list of dstack machines.
//
// A log is a claim of the machine. Replay folds its digests; only where the
// result equals a quoted register are the digests true, and then all of them
// in this order and no others. What an event says beside its digest stays a
// claim unless the digest follows from it: Describe tells the two apart. The
// type of an event is always a claim, for no digest covers it.
//
// Diff explains how a log differs from a prediction, event by event.
package eventlog
