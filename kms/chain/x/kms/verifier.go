package kms

import "github.com/secretvm/secretvm/attest"

// Verified says how often a decision could rest on what the verifier had found
// genuine before. It differs from node to node, and no decision depends on it.
func (k Keeper) Verified() map[string]attest.Remembered { return k.verifier.Remembered() }
