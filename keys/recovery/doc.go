// Package recovery keeps a node's share where the node cannot lose it: cut into
// pieces of which any k make it (Shamir), each encrypted to one member of a
// recovery committee (age), so that the shares of a chain whose nodes are all
// gone can be opened by k people together and dealt to new nodes under the same
// group key (Deals). No function prints a share or a piece.
//
// A Backup is public and carries commitments to its pieces. The first commitment
// is the public key of the share, which everybody computes from the sharing, and
// the proof can only be made by whoever has the share: a chain checks both
// (Backup.Check) and so knows for which node, round and committee a backup is.
// What it cannot see is whether the envelopes hold the pieces; a committee member
// sees that at once on opening (Backup.Open), and may do so at any time.
//
// Pieces are bound to chain, epoch, round, node and the share's public key. A
// member opens its piece of every node's backup on a machine of its own, and
// sends it, sealed again (Piece.Seal), to whoever runs the recovery. That one
// compares every piece with the commitments, names wrong ones (Backup.Assemble),
// and holds shares in memory until they are dealt.
//
// k members together can do what t nodes can: read every key. Choose k like t.
package recovery
