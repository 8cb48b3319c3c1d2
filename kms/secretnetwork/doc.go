// Package secretnetwork gets a machine's keys from the key manager contract of
// existing SecretVM machines, on Secret Network: the query protocol of that
// network, the contract's questions, and how its answers are encrypted.
//
// A machine chooses it in its measured config (vm.ProviderSecretNetwork), which
// pins the contract's address and code hash and the network's consensus key.
// With these, a node of the network can refuse to answer and nothing else: the
// question is encrypted to the enclaves that run that code, and so is the
// answer. What the contract itself leaves open is vm.KMS.Weaknesses.
//
// Nothing of it is ours to change. Layouts are those that the contract and the
// network's own client speak; the tests hold them against that client.
package secretnetwork
