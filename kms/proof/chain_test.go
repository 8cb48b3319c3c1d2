package proof_test

import (
	"context"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"

	"github.com/secretvm/secretvm/kms/proof"
	"github.com/secretvm/secretvm/vm"
)

const chainID = "light-1"

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// team is a set of validators with their keys.
type team struct {
	keys []ed25519.PrivKey
	set  *cmttypes.ValidatorSet
}

func newTeam(keys ...ed25519.PrivKey) team {
	var validators []*cmttypes.Validator
	for _, k := range keys {
		validators = append(validators, cmttypes.NewValidator(k.PubKey(), 10))
	}
	return team{keys, cmttypes.NewValidatorSet(validators)}
}

// block makes a block that so many of a team sign.
func block(t *testing.T, height int64, by, next team, signers int) *cmttypes.LightBlock {
	t.Helper()
	h := &cmttypes.Header{
		Version: cmtversion.Consensus{Block: version.BlockProtocol}, ChainID: chainID, Height: height, Time: start.Add(time.Duration(height) * time.Second),
		ValidatorsHash: by.set.Hash(), NextValidatorsHash: next.set.Hash(), ConsensusHash: make([]byte, 32), AppHash: make([]byte, 32),
		LastResultsHash: make([]byte, 32), DataHash: make([]byte, 32), EvidenceHash: make([]byte, 32), LastCommitHash: make([]byte, 32),
		ProposerAddress: by.set.Validators[0].Address,
	}
	id := cmttypes.BlockID{Hash: h.Hash(), PartSetHeader: cmttypes.PartSetHeader{Total: 1, Hash: make([]byte, 32)}}
	commit := &cmttypes.Commit{Height: height, BlockID: id}
	for i, v := range by.set.Validators {
		if i >= signers {
			commit.Signatures = append(commit.Signatures, cmttypes.NewCommitSigAbsent())
			continue
		}
		vote := &cmtproto.Vote{Type: cmtproto.PrecommitType, Height: height, BlockID: id.ToProto(), Timestamp: h.Time}
		for _, k := range by.keys {
			if k.PubKey().Address().String() == v.Address.String() {
				s, err := k.Sign(cmttypes.VoteSignBytes(chainID, vote))
				if err != nil {
					t.Fatal(err)
				}
				commit.Signatures = append(commit.Signatures, cmttypes.CommitSig{BlockIDFlag: cmttypes.BlockIDFlagCommit, ValidatorAddress: v.Address, Timestamp: h.Time, Signature: s})
			}
		}
	}
	return &cmttypes.LightBlock{SignedHeader: &cmttypes.SignedHeader{Header: h, Commit: commit}, ValidatorSet: by.set}
}

// TestK3_HeadersAreFollowedFromGenesis: validators change one by one until none
// of the first is left; every change is followed, and nothing else is believed.
func TestK3_HeadersAreFollowedFromGenesis(t *testing.T) {
	keys := make([]ed25519.PrivKey, 12)
	for i := range keys {
		keys[i] = ed25519.GenPrivKey()
	}
	const newest = 64
	teams := make([]team, newest+2)
	for h := range teams {
		first := h * 8 / newest
		teams[h] = newTeam(keys[first : first+4]...)
	}
	blocks := map[int64]*cmttypes.LightBlock{}
	for h := int64(1); h <= newest; h++ {
		blocks[h] = block(t, h, teams[h], teams[h+1], 4)
	}
	genesis := &cmttypes.GenesisDoc{ChainID: chainID, InitialHeight: 1}
	for _, v := range teams[1].set.Validators {
		genesis.Validators = append(genesis.Validators, cmttypes.GenesisValidator{PubKey: v.PubKey, Power: 10})
	}
	asked := 0
	honest := proof.Chain{Genesis: genesis, Now: start.Add(time.Hour), Fetch: func(_ context.Context, h int64) (*cmttypes.LightBlock, error) {
		asked++
		if h == 0 {
			h = newest
		}
		if blocks[h] == nil {
			return nil, vm.Refuse(vm.CodeUnavailable, "no block %d", h)
		}
		return blocks[h], nil
	}}
	b, err := honest.Header(t.Context(), 0)
	if err != nil || b.Height != newest {
		t.Fatalf("block %v: %v", b, err)
	}
	if signed, all := proof.Signers(b); signed != 4 || all != 4 {
		t.Errorf("%d of %d signed", signed, all)
	}
	t.Logf("%d of %d headers were fetched", asked, newest)
	if asked > 24 {
		t.Errorf("%d headers were fetched", asked)
	}

	strangers := newTeam(ed25519.GenPrivKey(), ed25519.GenPrivKey(), ed25519.GenPrivKey(), ed25519.GenPrivKey())
	with := func(at int64, b *cmttypes.LightBlock) proof.Chain {
		c := honest
		c.Fetch = func(ctx context.Context, h int64) (*cmttypes.LightBlock, error) {
			if h == at {
				return b, nil
			}
			return honest.Fetch(ctx, h)
		}
		return c
	}
	spoilt := *blocks[newest].SignedHeader.Header
	spoilt.AppHash = append([]byte{1}, spoilt.AppHash[1:]...)
	later := honest
	later.Trusted = &proof.Header{Height: 60, Hash: vm.Hash(blocks[60].Hash())}
	elsewhere := later
	elsewhere.Trusted = &proof.Header{Height: 60, Hash: vm.Hash(blocks[61].Hash())}
	lost := honest
	lost.Fetch = func(ctx context.Context, h int64) (*cmttypes.LightBlock, error) {
		if h == 1 {
			return nil, vm.Refuse(vm.CodeUnavailable, "no block 1")
		}
		return honest.Fetch(ctx, h)
	}
	early := honest
	early.Now = start
	for _, tt := range []struct {
		name  string
		chain proof.Chain
		at    int64
		want  vm.Code
	}{
		{"strangers' block", with(0, block(t, newest, strangers, strangers, 4)), 0, vm.CodeSignature},
		{"strangers' first block", with(1, block(t, 1, strangers, teams[2], 4)), 0, vm.CodeSignature},
		{"too few signatures", with(0, block(t, newest, teams[newest], teams[newest+1], 2)), 0, vm.CodeSignature},
		{"first block with too few signatures", with(1, block(t, 1, teams[1], teams[2], 2)), 0, vm.CodeSignature},
		{"other header under the commit", with(0, &cmttypes.LightBlock{SignedHeader: &cmttypes.SignedHeader{Header: &spoilt, Commit: blocks[newest].Commit}, ValidatorSet: teams[newest].set}), 0, vm.CodeSignature},
		{"another block than asked for", with(40, blocks[41]), 40, vm.CodeSignature},
		{"a block of the future", early, 0, vm.CodeSignature},
		{"another trusted header", elsewhere, 0, vm.CodeSignature},
		{"before the trusted header", later, 59, vm.CodeInvalid},
		{"the first block is gone", lost, 0, vm.CodeUnavailable},
		{"from a trusted header", later, 0, ""},
		{"the trusted header itself", later, 60, ""},
		{"the first block", honest, 1, ""},
	} {
		_, err := tt.chain.Header(t.Context(), tt.at)
		if tt.want == "" && err != nil || tt.want != "" && vm.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
