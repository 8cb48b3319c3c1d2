package main

import "strings"

// shortOf says what each message is for; a test holds it to the messages that
// the chain has.
var shortOf = map[string]string{
	"kms revoke-image":        "Take an image's keys away, at once",
	"kms set-policy":          "Change what a service demands of machines; what loosens it waits for the upgrade delay",
	"kms freeze":              "Let no image be added any more, for good",
	"kms seal":                "Give a service's machines their environment, or registry credentials, encrypted",
	"kms transfer":            "Give a service to another owner",
	"kms accept-rollback":     "Accept that a machine's disk is an older copy, and that what came after it is lost",
	"kms update-params":       "Change the parameters of releases, as the chain's authority",
	"council admit":           "Give accounts to addresses",
	"council create-council":  "Make an owner that is m of n members",
	"council propose":         "Propose messages that the council is to send",
	"council approve":         "Approve a proposal; the last approval that is needed carries it out",
	"council reject":          "Reject a proposal",
	"council withdraw":        "Take back an own proposal",
	"council set-members":     "Replace a council's members; only the council itself can, by a proposal",
	"committee join":          "Admit a node, by evidence or by the authority's word",
	"committee rotate":        "Give a node other keys, from the next round on",
	"committee leave":         "Take a node out with the next round",
	"committee remove":        "Take a node out at once",
	"committee address":       "Say where a node is reached",
	"committee reshare":       "Make the shares of an epoch's key anew",
	"committee open-epoch":    "Have the nodes make another key",
	"committee close-epoch":   "End the use of a key, for good",
	"committee set-recovery":  "Name another recovery committee, after the delay, or none, at once",
	"committee update-params": "Change how nodes are governed",
}

// words are the words of a command's name.
func words(name string) string { return strings.ReplaceAll(name, "-", " ") }
