// Package vm holds the data that every part of secretvm shares: what a machine
// is configured to be (Config), what hardware it is given (Shape), what it is
// made of (Manifest), what it measured (Event, Measurement), what it can show
// (Evidence, Collateral) and what a verifier concluded (Verdict, Refusal).
//
// The package imports the standard library only, performs no I/O and keeps no
// state: every other package may import it.
package vm
