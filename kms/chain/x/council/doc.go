// Package council is the module x/council: accounts that act when m of n members
// agree. A council owns services, or governs the nodes, like any other account:
// by the messages that are signed by its address. Nobody has a key for that
// address; the module signs, with the messages of a proposal that enough members
// approved in time, all of them or none.
//
// The module also admits accounts: there are no fees, so who may send
// transactions is who was admitted, and whoever was may vouch for others.
package council
