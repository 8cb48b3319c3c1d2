// Package committee is the module x/committee: the nodes that hold the group's
// secret and validate the chain, who they are, and how the secret is shared
// among them.
//
// Nodes are admitted by their own quote against images that the authority
// governs. Consensus code: nothing here reads a clock, a file or the network,
// draws randomness or holds a secret. What is secret in a round (shares, sealed
// to their holders) passes through the ledger unread.
package committee
