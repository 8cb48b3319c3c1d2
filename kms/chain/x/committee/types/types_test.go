package types

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/cosmos/cosmos-sdk/types/bech32"

	"github.com/secretvm/secretvm/keys"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

func address(t testing.TB, n byte) string {
	t.Helper()
	s, err := bech32.ConvertAndEncode(kmstypes.Bech32Prefix, bytes.Repeat([]byte{n}, 20))
	must(t, err)
	return s
}

// genesis is a valid state of two of three nodes.
func genesis(t testing.TB) GenesisState {
	t.Helper()
	c, _, err := keys.Split(rand.Reader, 2, 3)
	must(t, err)
	g := GenesisState{Params: DefaultParams(address(t, 9)), Epochs: []Epoch{{}}}
	g.Params.UnattestedNodes = true
	var holders []Holder
	for i := byte(1); i <= 3; i++ {
		sealing, err := keys.NewRecipient()
		must(t, err)
		holders = append(holders, Identity{SealingKey: sealing.Public()}.Holder(uint32(i)))
		g.Nodes = append(g.Nodes, Node{
			Index: uint32(i), Operator: address(t, 100+i), Status: NodeActive,
			Identity: Identity{Relay: address(t, i), ConsensusKey: bytes.Repeat([]byte{i}, 32), SealingKey: sealing.Public()},
		})
	}
	group, err := NewGroup(0, 0, c, holders)
	must(t, err)
	g.Groups = []Group{group}
	return g
}

func TestGenesis(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*GenesisState)
		wantErr string
	}{
		{"good", func(*GenesisState) {}, ""},
		{"no group yet", func(g *GenesisState) { g.Groups = nil }, ""},
		{"no commitments", func(g *GenesisState) { g.Groups[0].Commitments = nil }, "commitments"},
		{"commitment that is no point", func(g *GenesisState) { g.Groups[0].Commitments[1] = make([]byte, 96) }, "commitment 1"},
		{"fewer members than the threshold", func(g *GenesisState) { g.Groups[0].Members = g.Groups[0].Members[:1] }, "1 members"},
		{"member that is no node", func(g *GenesisState) { g.Groups[0].Members[2].Index = 4 }, "member 4"},
		{"members out of order", func(g *GenesisState) { g.Groups[0].Members[1].Index = 1 }, "member 1"},
		{"public key of another member", func(g *GenesisState) { g.Groups[0].Members[1].PublicKey = g.Groups[0].Members[2].PublicKey }, "member 2"},
		{"no nodes", func(g *GenesisState) { g.Nodes = nil }, "0 nodes"},
		{"index twice", func(g *GenesisState) { g.Nodes[1].Index = 1 }, "index 1"},
		{"index zero", func(g *GenesisState) { g.Nodes[1].Index = 0 }, "index 0"},
		{"one relay for two", func(g *GenesisState) { g.Nodes[1].Identity.Relay = g.Nodes[0].Identity.Relay }, "node 2"},
		{"one validator for two", func(g *GenesisState) { g.Nodes[1].Identity.ConsensusKey = g.Nodes[0].Identity.ConsensusKey }, "node 2"},
		{"relay of another chain", func(g *GenesisState) {
			g.Nodes[1].Identity.Relay = "cosmos1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqnrql8a"
		}, "node 2"},
		{"short sealing key", func(g *GenesisState) { g.Nodes[1].Identity.SealingKey = []byte{1} }, "node 2"},
		{"unattested", func(g *GenesisState) { g.Params.UnattestedNodes = false }, "not attested"},
		{"nobody governs", func(g *GenesisState) { g.Params.Authority = "" }, "authority"},
		{"no time for a phase", func(g *GenesisState) { g.Params.PhaseBlocks = 0 }, "phase_blocks"},
		{"no epoch", func(g *GenesisState) { g.Epochs = nil }, "no epoch"},
		{"group of no epoch", func(g *GenesisState) { g.Groups[0].Epoch = 1 }, "epoch 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := genesis(t)
			tt.change(&g)
			err := g.Validate()
			if tt.wantErr == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want %q", err, tt.wantErr)
			}
		})
	}
}

// TestThreshold: more than two thirds, as the chain's own decisions.
func TestThreshold(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 10: 7, 100: 67} {
		if got := Threshold(n); got != want {
			t.Errorf("threshold of %d is %d, want %d", n, got, want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
