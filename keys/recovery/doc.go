// Package recovery keeps a node's share where the node cannot lose it: cut into
// pieces of which any k make it (Shamir), each encrypted to one member of a
// recovery committee (age), so that k people together can hand the group's secret
// to new nodes on the day on which all nodes are gone. No function prints a share
// or a piece.
//
// A Backup is public and carries commitments to its pieces. The first commitment
// is the public key of the share, which everybody computes from the sharing, and
// the proof can only be made by whoever has the share: a chain checks both
// (Backup.Check) and so knows for which node, round and committee a backup is.
// What it cannot see is whether the envelopes hold the pieces; a committee member
// sees that at once on opening (Backup.Open), and may do so at any time. Pieces are
// bound to chain, epoch, round, node and the share's public key.
//
// Nobody puts shares together to recover. The backups of t nodes are also the
// deals of a resharing, from the nodes to the committee: what a member finds in
// them adds up to its own share of the group's secret, of which k make it
// (Combine, Combined.Take). With it the member deals, on a computer of its own, to
// the new nodes (Deal). What leaves that computer is sealed to them, so no member
// and no operator ever holds more than one share.
//
// k members together can do what t nodes can: read every key. Choose k like t.
package recovery
