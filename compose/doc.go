// Package compose reads a workload: a Docker Compose file and, beside it, an
// optional archive of files. Both are read once, as raw bytes; what is digested
// and measured is those bytes and never a parsed or normalised form of them.
//
// From the same bytes come the settings in the x-secretvm block (Settings), the
// services and the ports that they publish (Service, Port), and the one measured
// document of the machine (Workload.Config). How the bytes travel from the host to
// the guest is configdisk's.
//
// The guest's process that runs the workload links this package: it imports vm, the
// standard library and a YAML parser, and treats every input as hostile.
package compose
