package node

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/wire"
)

// absence is a start after which the others have decided more than this node's
// validator remembers to have signed. Mostly it was just away. But a home that
// was put back from a copy has forgotten what it signed since, and the others
// have not: so it waits until they are past every block of which it may have
// signed a part, and then joins them.
//
// The wait is bounded: where the others stand still, it may be for want of this
// very node, and nobody but it can tell that it was merely away.
type absence struct {
	peers    []string // URLs of the other nodes
	signed   int64    // height
	ask      func(ctx context.Context, url string) (int64, error)
	patience time.Duration // how long the others may stand still
	limit    time.Duration // in all: one of the others may lie
	log      *slog.Logger
}

// beyond is by how many blocks the others must be past the highest that they
// named at first: they may have been at the next already.
const beyond = 2

// awaitOthers is the wait before this node takes part in consensus.
func awaitOthers(ctx context.Context, app *chain.App, key []byte, signed int64, log *slog.Logger) error {
	client := &http.Client{Timeout: time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a := absence{signed: signed, patience: 3 * time.Second, limit: 15 * time.Second, log: log, ask: func(ctx context.Context, url string) (int64, error) {
		var s wire.Status
		err := wire.Call(ctx, client, http.MethodGet, url, wire.PathStatus, nil, &s)
		return s.Newest, err
	}}
	if app.LastBlockHeight() > 0 {
		// What was committed last: there is no block yet to read after.
		nodes, err := app.Committee.Nodes(sdk.NewContext(app.CommitMultiStore().CacheMultiStore(), cmtproto.Header{ChainID: app.ChainID(), Height: app.LastBlockHeight()}, true, app.Logger()))
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if n.Api != "" && !bytes.Equal(n.Identity.ConsensusKey, key) {
				a.peers = append(a.peers, n.Api)
			}
		}
	}
	a.wait(ctx)
	return nil
}

// wait returns when this node may sign.
func (a absence) wait(ctx context.Context) {
	first := a.highest(ctx)
	if first <= a.signed {
		return
	}
	a.log.Info("the others are ahead; waiting until they are past what this validator may have signed", "signed", a.signed, "others", first)
	begin := time.Now()
	last, grown := first, begin
	for last < first+beyond {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		now := time.Now()
		if h := a.highest(ctx); h > last {
			last, grown = h, now
		}
		if now.Sub(grown) > a.patience || now.Sub(begin) > a.limit {
			a.log.Warn("the others stand still, perhaps for want of this node: it takes part as if it had only been away", "signed", a.signed, "others", last)
			return
		}
	}
}

// highest is the greatest height that one of the others names; 0 if none does.
func (a absence) highest(ctx context.Context) int64 {
	heights := make([]int64, len(a.peers))
	var all sync.WaitGroup
	for i, url := range a.peers {
		all.Go(func() {
			if h, err := a.ask(ctx, url); err == nil {
				heights[i] = h
			}
		})
	}
	all.Wait()
	var top int64
	for _, h := range heights {
		top = max(top, h)
	}
	return top
}
