package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"

	"github.com/secretvm/secretvm/guestapi"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Machine is the machine of this system that a node runs in, as it answers its
// containers: guestapi.Client is one.
type Machine interface {
	Info(ctx context.Context) (guestapi.Info, error)
	Quote(ctx context.Context, data []byte) (vm.Evidence, error)
}

// identity is what the chain is to know a node by.
type identity struct {
	consensusKey, sealingKey []byte
	peer                     p2p.ID
}

// identity reads the public halves of this home's keys.
func (h Home) identity() (id identity, err error) {
	config := h.cometConfig(DefaultTiming)
	key, err := p2p.LoadNodeKey(config.NodeKeyFile())
	if err != nil {
		return id, fmt.Errorf("read the peer key: %w", err)
	}
	validator, err := privval.LoadFilePVEmptyState(config.PrivValidatorKeyFile(), "").GetPubKey()
	if err != nil {
		return id, fmt.Errorf("read the validator key: %w", err)
	}
	sealing, err := readSealing(h.sealing())
	if err != nil {
		return id, err
	}
	return identity{validator.Bytes(), sealing.Public(), key.ID()}, nil
}

// admission has the machine quote this node's accounts and keys, for whoever is
// to bring it to the chain. The block that it names is one that this node has
// verified, so that a node on another chain than the asker's shows.
func (n *Node) admission(ctx context.Context, q wire.AdmissionRequest) (a wire.Admission, err error) {
	if n.machine == nil {
		return a, vm.Refuse(vm.CodeInvalid, "this node proves nothing: it was started without --evidence").
			Try("the chain's authority can admit it without, if the chain allows that: kmsd tx committee join")
	}
	if err := kmstypes.CheckAddress("operator", q.Operator); err != nil {
		return a, basic(err)
	}
	anchor, err := n.ledger.anchor(n.now())
	if err != nil {
		return a, err
	}
	info, err := n.machine.Info(ctx)
	if err != nil {
		return a, fmt.Errorf("ask the machine what it is: %w", err)
	}
	config, err := info.Config.Canonical()
	if err != nil {
		return a, fmt.Errorf("the machine's config: %w", err)
	}
	a = wire.Admission{
		ChainID: n.ledger.ChainID(), Operator: q.Operator, Relay: n.relay.account.Address,
		ConsensusKey: n.self.consensusKey, SealingKey: n.self.sealingKey, PeerID: string(n.self.peer),
		InstanceID: info.Config.InstanceID, Height: anchor.Height, Config: config,
	}
	copy(a.BlockHash[:], anchor.Hash)
	about := vm.Admission{
		ChainID: a.ChainID, BlockHash: a.BlockHash, InstanceID: a.InstanceID,
		Operator: a.Operator, Relay: a.Relay, ConsensusKey: a.ConsensusKey, SealingKey: a.SealingKey,
	}
	data := about.Data()
	if a.Evidence, err = n.machine.Quote(ctx, data[:]); err != nil {
		var refusal *vm.Refusal
		if errors.As(err, &refusal) {
			return a, refusal
		}
		return a, fmt.Errorf("ask the machine for a quote: %w", err)
	}
	if a.Evidence.TEE != vm.SNP && len(a.Evidence.Events) == 0 {
		a.Evidence.Events = info.Events
	}
	return a, nil
}

// anchor is the newest block that evidence may name.
func (l *ledger) anchor(now time.Time) (kmstypes.Anchor, error) {
	ctx, err := l.Read()
	if err != nil {
		return kmstypes.Anchor{}, vm.Refuse(vm.CodeUnavailable, "the chain has no block yet")
	}
	newest, err := l.KMS.Newest(ctx)
	if err != nil {
		return newest, err
	}
	if newest.Height == 0 || now.Sub(at(newest.Time)) > freshness {
		return newest, vm.Refuse(vm.CodeUnavailable, "this node has no fresh block yet: it is at height %d", newest.Height).Try("try again when it has caught up")
	}
	return newest, nil
}

// JoinOf is the message with which sender brings a node that has shown evidence.
func JoinOf(a wire.Admission, sender string) (*committee.MsgJoin, error) {
	evidence, err := evidenceOf(a)
	if err != nil {
		return nil, err
	}
	return &committee.MsgJoin{
		Sender: sender, Operator: a.Operator, Relay: a.Relay, ConsensusKey: a.ConsensusKey, SealingKey: a.SealingKey, Evidence: evidence,
	}, nil
}

func evidenceOf(a wire.Admission) (*committee.Evidence, error) {
	var carried kmstypes.MsgRelease
	if err := carried.SetEvidence(a.Evidence); err != nil {
		return nil, err
	}
	return &committee.Evidence{
		VmUid: a.InstanceID, Height: a.Height, BlockHash: a.BlockHash[:], Config: a.Config,
		Tee: carried.Tee, Quote: carried.Quote, Events: carried.Events, Collateral: carried.Collateral, Amd: carried.Amd,
	}, nil
}
