package api

import (
	"context"

	abci "github.com/cometbft/cometbft/abci/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"

	"github.com/secretvm/secretvm/kms/chain"
)

// maxSimulations bounds how many transactions are tried out at a time: nobody
// pays for one, and it may verify evidence.
const maxSimulations = 2

// hidden are methods of the SDK's services that this chain does not have: there
// is no index of transactions, no amino encoding of them, what a node was built
// of is nobody's business, and two spellings of an address have the same path.
var hidden = map[string]bool{
	"cosmos.auth.v1beta1.Query.AddressBytesToString":               true,
	"cosmos.auth.v1beta1.Query.AddressStringToBytes":               true,
	"cosmos.tx.v1beta1.Service.GetTx":                              true,
	"cosmos.tx.v1beta1.Service.GetTxsEvent":                        true,
	"cosmos.tx.v1beta1.Service.TxEncodeAmino":                      true,
	"cosmos.tx.v1beta1.Service.TxDecodeAmino":                      true,
	"cosmos.base.tendermint.v1beta1.Service.GetNodeInfo":           true,
	"cosmos.base.tendermint.v1beta1.Service.GetBlockResults":       true,
	"cosmos.base.tendermint.v1beta1.Service.GetLatestBlockResults": true,
}

// registerServices adds transactions and blocks to what is served.
func registerServices(app *chain.App, comet client.CometRPC) {
	c := client.Context{
		Client: comet, ChainID: app.ChainID(), Codec: app.Codec, InterfaceRegistry: app.Registry, TxConfig: app.Tx,
		BroadcastMode: "sync",
	}
	router := app.GRPCQueryRouter()
	txtypes.RegisterServiceServer(router, transactions{
		ServiceServer: authtx.NewTxServer(c, app.Simulate, app.Registry), slots: make(chan struct{}, maxSimulations),
	})
	query := func(ctx context.Context, q *abci.RequestQuery) (*abci.ResponseQuery, error) { return app.Query(ctx, q) }
	cmtservice.RegisterServiceServer(router, blocks{cmtservice.NewQueryServer(c, app.Registry, query)})
}

// transactions is the SDK's service without what is hidden.
type transactions struct {
	txtypes.ServiceServer
	slots chan struct{}
}

// Simulate tries a transaction out, when few others are.
func (t transactions) Simulate(ctx context.Context, q *txtypes.SimulateRequest) (*txtypes.SimulateResponse, error) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
		return t.ServiceServer.Simulate(ctx, q)
	default:
		return nil, status.Error(codes.ResourceExhausted, "the node tries out other transactions")
	}
}

// GetTx is hidden.
func (transactions) GetTx(context.Context, *txtypes.GetTxRequest) (*txtypes.GetTxResponse, error) {
	return nil, notServed()
}

// GetTxsEvent is hidden.
func (transactions) GetTxsEvent(context.Context, *txtypes.GetTxsEventRequest) (*txtypes.GetTxsEventResponse, error) {
	return nil, notServed()
}

// TxEncodeAmino is hidden.
func (transactions) TxEncodeAmino(context.Context, *txtypes.TxEncodeAminoRequest) (*txtypes.TxEncodeAminoResponse, error) {
	return nil, notServed()
}

// TxDecodeAmino is hidden.
func (transactions) TxDecodeAmino(context.Context, *txtypes.TxDecodeAminoRequest) (*txtypes.TxDecodeAminoResponse, error) {
	return nil, notServed()
}

// blocks is the SDK's service without what is hidden.
type blocks struct{ cmtservice.ServiceServer }

// GetNodeInfo is hidden.
func (blocks) GetNodeInfo(context.Context, *cmtservice.GetNodeInfoRequest) (*cmtservice.GetNodeInfoResponse, error) {
	return nil, notServed()
}

// GetBlockResults is hidden.
func (blocks) GetBlockResults(context.Context, *cmtservice.GetBlockResultsRequest) (*cmtservice.GetBlockResultsResponse, error) {
	return nil, notServed()
}

// GetLatestBlockResults is hidden.
func (blocks) GetLatestBlockResults(context.Context, *cmtservice.GetLatestBlockResultsRequest) (*cmtservice.GetLatestBlockResultsResponse, error) {
	return nil, notServed()
}

func notServed() error { return status.Error(codes.Unimplemented, "not served by this chain") }
