// Package dkg is how nodes make a group key that none of them ever holds, and how
// they hand it on to other nodes: joint-Feldman key generation and resharing,
// with a chain as the channel on which everybody sees the same messages in the
// same order. Why this protocol, and what it does not promise, is in
// docs/decisions/0016.
//
// A Round names everything that was agreed before: who deals, who gets shares,
// how many shares make a key, and the sealing key of every member. Then
//
//  1. deal: every dealer draws a polynomial and posts a Deal: commitments, a
//     proof that it knows what is under them, and a share for every member,
//     sealed to it. The chain refuses what Round.Read refuses.
//  2. complain: every member opens its share of every deal (Round.Open) and posts
//     a Complaint about those that are wrong.
//  3. justify: a dealer answers each complaint with the share in question in the
//     open (Dealer.Justify). A right share ends the matter, since everybody,
//     the member included, now has it; anything else excludes the dealer.
//  4. finalise: everybody computes the same Outcome (Round.Finalise), and each
//     member its own share (Round.Share).
//
// In a round without Old the secret is the sum of the dealers'. In a round with
// it the dealers are holders of old shares, each shares its own anew, and the
// secret and group key stay what they were, while the shares are of another
// polynomial: old ones and new ones together are worth nothing.
//
// A dealer that t members complain about is excluded unheard, because answers
// would reveal its polynomial: fewer than t liars cannot bring that about.
//
// A sealing key opens the deals of its rounds for ever, and a chain forgets
// nothing. Members therefore draw a fresh keys.Recipient for every round and
// wipe it after, with the Seed, once Share returned; a key used in many rounds
// would give whoever takes it, one day, every share that the node ever had.
//
// Every function is a function of its arguments, and those that a chain runs
// (all methods of Round but Open and Share) draw nothing and hold nothing.
// Sealing a deal draws from the system's randomness beside the reader given.
package dkg
