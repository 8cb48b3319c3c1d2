// Package local runs a whole installation on one computer, for `secretvm up`:
// image, KMS, registry, service on the chain, soft TEE, emulator. Up is the list
// of steps; Down undoes them in reverse order.
//
// Everything listens on loopback. What must survive lies in one state folder:
// the KMS's home, the development PKI, and a folder for each machine. This
// package never holds a key: the KMS is another program, spoken to through its
// command line.
package local
