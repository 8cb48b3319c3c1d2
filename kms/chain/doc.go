// Package chain is the key manager's application on CometBFT: the Cosmos SDK's
// auth module for accounts and signatures, its consensus module for the
// parameters of CometBFT, x/committee for the nodes and x/kms for what they
// decide. It is wired by hand, so that everything
// the chain can do is on one page.
//
// There are no tokens and no fees. Who may send transactions is who has an
// account: the owners and the relays of the nodes that genesis names.
package chain
