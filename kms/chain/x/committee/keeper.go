package committee

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Keeper reads and writes the module's state.
type Keeper struct {
	params collections.Item[types.Params]
	nodes  collections.Map[uint32, types.Node]  // by index
	relays collections.Map[string, uint32]      // index by relay account
	epochs collections.Map[uint64, types.Epoch] // by number
	groups collections.Map[uint64, types.Group] // by epoch

	lastRound  collections.Item[uint64] // number of the newest round
	openRound  collections.Item[uint64] // the one that is under way; absent: none
	pause      collections.Item[types.Pause]
	rounds     collections.Map[uint64, types.Round]
	fresh      collections.Map[collections.Pair[uint64, uint32], []byte]              // keys for the round, by round, holder
	deals      collections.Map[collections.Pair[uint64, uint32], []byte]              // by round, dealer
	complaints collections.Map[collections.Pair[uint64, uint32], types.Complaint]     // by round, holder
	answers    collections.Map[collections.Pair[uint64, uint32], types.Justification] // by round, dealer
	asked      collections.KeySet[uint64]                                             // epochs that the authority wants reshared
	validators collections.KeySet[[]byte]                                             // consensus keys that CometBFT was told

	recovery collections.Item[types.RecoveryRules]
	backups  collections.Map[collections.Triple[uint64, uint64, uint32], types.Backup] // by epoch, round, node
	backed   collections.Map[uint64, types.Group]                                      // by epoch: the newest sharing that backups suffice for
}

// NewKeeper opens the module's store. The prefixes are part of the state's
// format.
func NewKeeper(cdc codec.BinaryCodec, service store.KVStoreService) (Keeper, error) {
	sb := collections.NewSchemaBuilder(service)
	roundAndNode := collections.PairKeyCodec(collections.Uint64Key, collections.Uint32Key)
	k := Keeper{
		params: collections.NewItem(sb, collections.NewPrefix(0), "params", codec.CollValue[types.Params](cdc)),
		nodes:  collections.NewMap(sb, collections.NewPrefix(1), "nodes", collections.Uint32Key, codec.CollValue[types.Node](cdc)),
		relays: collections.NewMap(sb, collections.NewPrefix(2), "relays", collections.StringKey, collections.Uint32Value),
		epochs: collections.NewMap(sb, collections.NewPrefix(3), "epochs", collections.Uint64Key, codec.CollValue[types.Epoch](cdc)),
		groups: collections.NewMap(sb, collections.NewPrefix(4), "groups", collections.Uint64Key, codec.CollValue[types.Group](cdc)),

		lastRound:  collections.NewItem(sb, collections.NewPrefix(5), "last_round", collections.Uint64Value),
		openRound:  collections.NewItem(sb, collections.NewPrefix(6), "open_round", collections.Uint64Value),
		pause:      collections.NewItem(sb, collections.NewPrefix(7), "pause", codec.CollValue[types.Pause](cdc)),
		rounds:     collections.NewMap(sb, collections.NewPrefix(8), "rounds", collections.Uint64Key, codec.CollValue[types.Round](cdc)),
		fresh:      collections.NewMap(sb, collections.NewPrefix(14), "fresh", roundAndNode, collections.BytesValue),
		deals:      collections.NewMap(sb, collections.NewPrefix(9), "deals", roundAndNode, collections.BytesValue),
		complaints: collections.NewMap(sb, collections.NewPrefix(10), "complaints", roundAndNode, codec.CollValue[types.Complaint](cdc)),
		answers:    collections.NewMap(sb, collections.NewPrefix(11), "answers", roundAndNode, codec.CollValue[types.Justification](cdc)),
		asked:      collections.NewKeySet(sb, collections.NewPrefix(12), "asked", collections.Uint64Key),
		validators: collections.NewKeySet(sb, collections.NewPrefix(13), "validators", collections.BytesKey),

		recovery: collections.NewItem(sb, collections.NewPrefix(15), "recovery", codec.CollValue[types.RecoveryRules](cdc)),
		backups: collections.NewMap(sb, collections.NewPrefix(16), "backups",
			collections.TripleKeyCodec(collections.Uint64Key, collections.Uint64Key, collections.Uint32Key), codec.CollValue[types.Backup](cdc)),
		backed: collections.NewMap(sb, collections.NewPrefix(17), "backed", collections.Uint64Key, codec.CollValue[types.Group](cdc)),
	}
	if _, err := sb.Build(); err != nil {
		return k, fmt.Errorf("open the store of x/committee: %w", err)
	}
	return k, nil
}

// Params returns the module's parameters.
func (k Keeper) Params(ctx context.Context) (types.Params, error) { return k.params.Get(ctx) }

// Group returns how an epoch's secret is shared. The error is a refusal: with
// CodeInvalid for an epoch that was never opened or is closed, CodeUnavailable
// for one whose key is still being made.
func (k Keeper) Group(ctx context.Context, epoch uint64) (types.Group, error) {
	e, err := k.epochs.Get(ctx, epoch)
	switch {
	case errors.Is(err, collections.ErrNotFound):
		return types.Group{}, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "epoch %d of the group key does not exist", epoch))
	case err != nil:
		return types.Group{}, err
	case e.Closed != 0:
		return types.Group{}, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "epoch %d of the group key was closed in block %d", epoch, e.Closed))
	}
	g, err := k.groups.Get(ctx, epoch)
	if errors.Is(err, collections.ErrNotFound) {
		return g, kmstypes.Fail(vm.Refuse(vm.CodeUnavailable, "the key of epoch %d is being made", epoch))
	}
	return g, err
}

// Epochs returns all epochs, oldest first.
func (k Keeper) Epochs(ctx context.Context) ([]types.Epoch, error) {
	var out []types.Epoch
	err := k.epochs.Walk(ctx, nil, func(_ uint64, e types.Epoch) (bool, error) {
		out = append(out, e)
		return false, nil
	})
	return out, err
}

// OpenEpochs returns the numbers of those of which keys are made.
func (k Keeper) OpenEpochs(ctx context.Context) ([]uint64, error) {
	epochs, err := k.Epochs(ctx)
	var open []uint64
	for _, e := range epochs {
		if e.Closed == 0 {
			open = append(open, e.Epoch)
		}
	}
	return open, err
}

// Groups returns the groups of all open epochs that have a key, oldest first.
func (k Keeper) Groups(ctx context.Context) ([]types.Group, error) {
	open, err := k.OpenEpochs(ctx)
	if err != nil {
		return nil, err
	}
	var out []types.Group
	for _, epoch := range open {
		g, err := k.groups.Get(ctx, epoch)
		if errors.Is(err, collections.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

// Nodes returns all nodes in the order of their indices.
func (k Keeper) Nodes(ctx context.Context) ([]types.Node, error) {
	var out []types.Node
	err := k.nodes.Walk(ctx, nil, func(_ uint32, n types.Node) (bool, error) {
		out = append(out, n)
		return false, nil
	})
	return out, err
}

// Node returns the node of an index, or collections.ErrNotFound.
func (k Keeper) Node(ctx context.Context, index uint32) (types.Node, error) {
	return k.nodes.Get(ctx, index)
}

// Relay returns the node that signs with an account, if it may relay for
// machines: it holds shares and was not put out.
func (k Keeper) Relay(ctx context.Context, relay string) (types.Node, bool, error) {
	n, ok, err := k.Signer(ctx, relay)
	if err != nil || !ok {
		return n, false, err
	}
	return n, n.Status == types.NodeActive || n.Status == types.NodeLeaving, nil
}

// Signer returns the node that signs with an account, whatever its status.
func (k Keeper) Signer(ctx context.Context, relay string) (types.Node, bool, error) {
	index, err := k.relays.Get(ctx, relay)
	if errors.Is(err, collections.ErrNotFound) {
		return types.Node{}, false, nil
	}
	if err != nil {
		return types.Node{}, false, err
	}
	n, err := k.nodes.Get(ctx, index)
	return n, err == nil, err
}

// setNode writes a node and who signs for it.
func (k Keeper) setNode(ctx context.Context, n types.Node) error {
	err := errors.Join(k.nodes.Set(ctx, n.Index, n), k.relays.Set(ctx, n.Identity.Relay, n.Index))
	if n.Next != nil {
		err = errors.Join(err, k.relays.Set(ctx, n.Next.Relay, n.Index))
	}
	return err
}
