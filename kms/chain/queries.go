package chain

import (
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee"
	committeetypes "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/council"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// registerQueries says what may be read of the chain. Package api serves it by
// gRPC and REST.
func (app *App) registerQueries() {
	router := app.GRPCQueryRouter()
	authtypes.RegisterQueryServer(router, authkeeper.NewQueryServer(app.Accounts))
	consensustypes.RegisterQueryServer(router, app.consensus)
	committeetypes.RegisterQueryServer(router, committee.NewQueryServer(app.Committee))
	upgradetypes.RegisterQueryServer(router, app.upgrades)
	counciltypes.RegisterQueryServer(router, council.NewQueryServer(app.Council))
	types.RegisterQueryServer(router, kms.NewQueryServer(app.KMS))
}
