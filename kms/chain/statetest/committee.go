package statetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/secretvm/secretvm/keys"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// Committee is one node, which the given account relays for and governs.
func Committee(t testing.TB, account string) committee.GenesisState {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	commitments, _, err := keys.Split(rand.Reader, 1, 1)
	check(err)
	sealing, err := keys.NewRecipient()
	check(err)
	validator, _, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	identity := committee.Identity{Relay: account, ConsensusKey: validator, SealingKey: sealing.Public()}
	group, err := committee.NewGroup(0, 0, commitments, []committee.Holder{identity.Holder(1)})
	check(err)
	params := committee.DefaultParams(account)
	params.UnattestedNodes = true
	return committee.GenesisState{
		Params: params, Epochs: []committee.Epoch{{}}, Groups: []committee.Group{group},
		Nodes: []committee.Node{{Index: 1, Operator: account, Status: committee.NodeActive, Identity: identity}},
	}
}
