// Package node is one node of the key manager: CometBFT with the application of
// package chain in this process, this node's share of the group's secret, and
// the HTTP interface of package wire.
//
// The node answers for what is committed in its own state and for nothing else:
// a partial key is computed only for a grant that is on the ledger, only for the
// keys that the grant names, and leaves only sealed to the key that the granted
// quote names. The worst that a relay or a node can do is to refuse.
package node
