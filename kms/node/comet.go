package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/cosmos/cosmos-sdk/baseapp"

	"github.com/secretvm/secretvm/kms/chain"
)

// Timing is how fast blocks follow each other.
type Timing struct {
	Commit time.Duration // between blocks that have transactions
	Idle   time.Duration // between blocks that have none
}

// DefaultTiming decides a release within a few tenths of a second, and lets an
// idle chain use next to no CPU: the guest needs it.
var DefaultTiming = Timing{Commit: 60 * time.Millisecond, Idle: time.Second}

// pause is how long to wait behind a block with so many bytes of transactions.
// After a full one more waits than fits into small ones, and a block costs every
// node as much as a few releases: they come farther apart, and hold more.
func (t Timing) pause(bytes int) time.Duration {
	more := min(max(0, bytes-fewBytes), 3*fewBytes)
	return t.Commit + t.Commit*time.Duration(more)/fewBytes
}

// fewBytes are a few releases.
const fewBytes = 32 << 10

// ledger is the chain as this process runs it.
type ledger struct {
	*chain.App
	comet *cmtnode.Node
	local *local.Local

	said    lastWords // of consensus
	flights *flights
	spread  *spread
	told    told
	lately  lately

	parsed parsedGroups
}

// openLedger opens the application's state and starts CometBFT over it.
func openLedger(ctx context.Context, home Home, doc *cmttypes.GenesisDoc, settings Settings, t Timing, log *slog.Logger) (*ledger, error) {
	if err := begun(doc.GenesisTime, time.Now()); err != nil {
		return nil, err
	}
	db, err := chain.OpenDB(home.data())
	if err != nil {
		return nil, unopened(home, err)
	}
	app, err := chain.New(sdkLogger{log}, db, doc.ChainID, baseapp.SetMinRetainBlocks(settings.KeepBlocks))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	config := home.cometConfig(t)
	settings.apply(config)
	nodeKey, err := p2p.LoadNodeKey(config.NodeKeyFile())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the peer key: %w", err), db.Close())
	}
	validator, err := openValidator(config)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := awaitOthers(ctx, app, validator.Key.PubKey.Bytes(), validator.LastSignState.Height, log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	said := make(lastWords, 1)
	comet, err := cmtnode.NewNodeWithContext(ctx, config, validator, nodeKey,
		proxy.NewLocalClientCreator(app.ABCI()), func() (*cmttypes.GenesisDoc, error) { return doc, nil },
		openStore, cmtnode.DefaultMetricsProvider(config.Instrumentation), watched{cometLogger{log}, said})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the chain: %w", err), db.Close())
	}
	if err := remembers(comet, validator); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l := &ledger{App: app, comet: comet, local: local.New(comet), said: said}
	l.flights, l.spread = newFlights(l), newSpread(l)
	app.OnWaiting(l.flights.note)
	// Consensus reads the pause right after the state is committed, and calls both:
	// nothing else touches it.
	app.OnDecided(func(bytes int) { config.Consensus.TimeoutCommit = t.pause(bytes) })
	if err := comet.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the chain: %w", err), db.Close())
	}
	return l, nil
}

// nextBlock waits for the next block and returns its height.
func (l *ledger) nextBlock(ctx context.Context) (int64, error) {
	sub, err := l.comet.EventBus().Subscribe(ctx, "kmsd-ready", cmttypes.EventQueryNewBlock)
	if err != nil {
		return 0, fmt.Errorf("wait for a block: %w", err)
	}
	defer func() {
		_ = l.comet.EventBus().Unsubscribe(context.WithoutCancel(ctx), "kmsd-ready", cmttypes.EventQueryNewBlock)
	}()
	select {
	case m := <-sub.Out():
		if block, ok := m.Data().(cmttypes.EventDataNewBlock); ok {
			return block.Block.Height, nil
		}
		return 0, errors.New("wait for a block: another event came")
	case <-sub.Canceled():
		return 0, fmt.Errorf("wait for a block: %w", sub.Err())
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for a block: %w", ctx.Err())
	}
}

// blocks returns a channel that wakes its reader after every block, and at
// first; blocks that come while it works wake it once. It closes when ctx ends
// or the chain stops.
func (l *ledger) blocks(ctx context.Context, name string) <-chan struct{} {
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	go func() {
		defer close(wake)
		sub, err := l.comet.EventBus().Subscribe(ctx, name, cmttypes.EventQueryNewBlock, 256)
		if err != nil {
			return
		}
		defer func() {
			_ = l.comet.EventBus().Unsubscribe(context.WithoutCancel(ctx), name, cmttypes.EventQueryNewBlock)
		}()
		for {
			select {
			case <-sub.Out():
				select {
				case wake <- struct{}{}:
				default:
				}
			case <-sub.Canceled():
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return wake
}

// close stops CometBFT, then closes the state below it.
func (l *ledger) close() error {
	err := l.comet.Stop()
	l.comet.Wait()
	return errors.Join(err, l.App.Close())
}
