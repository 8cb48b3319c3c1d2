// Package doctor says which machines a computer can run, with what it lacks and
// how to mend that: Gather collects facts from files as Linux shows them and from
// what Look found at devices, Judge makes a Report of them. Only Look touches the
// computer; a recorded tree of files gives the same report anywhere.
//
// Nothing in it was tried on a host with TDX or SEV-SNP: the facts that it looks
// for are from the documentation and sources of Linux, QEMU and the vendors.
package doctor
