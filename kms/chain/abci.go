package chain

import (
	"context"

	abci "github.com/cometbft/cometbft/abci/types"
)

// ABCI returns the application as CometBFT calls it, in the same process.
func (app *App) ABCI() abci.Application { return cometApp{app} }

// cometApp gives BaseApp's methods the contexts that CometBFT's interface has.
type cometApp struct{ app *App }

var _ abci.Application = cometApp{}

func (c cometApp) Info(_ context.Context, r *abci.RequestInfo) (*abci.ResponseInfo, error) {
	return c.app.Info(r)
}

func (c cometApp) Query(ctx context.Context, r *abci.RequestQuery) (*abci.ResponseQuery, error) {
	return c.app.Query(ctx, r)
}

func (c cometApp) CheckTx(_ context.Context, r *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	return c.app.CheckTx(r)
}

func (c cometApp) InsertTx(_ context.Context, r *abci.RequestInsertTx) (*abci.ResponseInsertTx, error) {
	return c.app.InsertTx(r)
}

func (c cometApp) ReapTxs(_ context.Context, r *abci.RequestReapTxs) (*abci.ResponseReapTxs, error) {
	return c.app.ReapTxs(r)
}

func (c cometApp) InitChain(_ context.Context, r *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	return c.app.InitChain(r)
}

func (c cometApp) PrepareProposal(_ context.Context, r *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	return c.app.PrepareProposal(r)
}

func (c cometApp) ProcessProposal(_ context.Context, r *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	return c.app.ProcessProposal(r)
}

func (c cometApp) FinalizeBlock(_ context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	res, err := c.app.FinalizeBlock(r)
	if c.app.decided != nil && err == nil {
		n := 0
		for _, tx := range r.Txs {
			n += len(tx)
		}
		c.app.decided(n)
	}
	return res, err
}

func (c cometApp) ExtendVote(ctx context.Context, r *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	return c.app.ExtendVote(ctx, r)
}

func (c cometApp) VerifyVoteExtension(_ context.Context, r *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	return c.app.VerifyVoteExtension(r)
}

func (c cometApp) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	return c.app.Commit()
}

func (c cometApp) ListSnapshots(_ context.Context, r *abci.RequestListSnapshots) (*abci.ResponseListSnapshots, error) {
	return c.app.ListSnapshots(r)
}

func (c cometApp) OfferSnapshot(_ context.Context, r *abci.RequestOfferSnapshot) (*abci.ResponseOfferSnapshot, error) {
	return c.app.OfferSnapshot(r)
}

func (c cometApp) LoadSnapshotChunk(_ context.Context, r *abci.RequestLoadSnapshotChunk) (*abci.ResponseLoadSnapshotChunk, error) {
	return c.app.LoadSnapshotChunk(r)
}

func (c cometApp) ApplySnapshotChunk(_ context.Context, r *abci.RequestApplySnapshotChunk) (*abci.ResponseApplySnapshotChunk, error) {
	return c.app.ApplySnapshotChunk(r)
}
