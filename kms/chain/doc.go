// Package chain is the key manager's application on CometBFT: the Cosmos SDK's
// auth module for accounts and signatures, its consensus module for the
// parameters of CometBFT and its upgrade module for plans to change them all at
// one height, x/committee for the nodes, x/council for owners of many, and x/kms
// for what the nodes decide. It is wired by hand, so that everything the chain
// can do is on one page.
//
// There are no tokens and no fees. Who may send transactions is who has an
// account: the owners and the relays of the nodes that genesis names.
package chain
