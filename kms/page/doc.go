// Package page shows people what the ledger knows of services: which images may
// have keys and which will, what is demanded of machines, every grant and
// refusal with its reason, and what owners changed.
//
// The pages are made of the newest committed state by this node alone: who does
// not believe it asks another node, or checks entries by proof (package proof).
// They only read, have no script and load nothing; what owners and machines
// wrote is text in them and never anything else.
package page
