// Package statetest makes the state of a chain that has very many services, for
// tests that measure it. Writing them through blocks takes hours, since every
// block rewrites paths to the root all over a tree that does not fit into memory.
// Here their entries are made by the module's own genesis import, sorted in files,
// and laid down as the one tree that a genesis with all of them makes: the app
// hash is that genesis'.
package statetest
