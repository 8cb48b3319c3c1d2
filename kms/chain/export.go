package chain

import (
	"fmt"

	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
)

// Export reads all of the state after a block, 0 for the newest, as a chain can
// start from it: the same chain again, when its nodes are lost. A round among
// nodes that is under way, and an upgrade that is planned, are not part of it.
// The caller adds what only CometBFT knows: consensus parameters, validators and
// the height to go on from.
func (app *App) Export(height int64) (g Genesis, err error) {
	ctx, err := app.CreateQueryContext(height, false)
	if err != nil {
		return g, fmt.Errorf("open the state after block %d: %w", height, err)
	}
	app.Accounts.IterateAccounts(ctx, func(account sdk.AccountI) bool {
		var encoded []byte
		encoded, err = app.Codec.MarshalInterfaceJSON(account)
		g.AccountStates = append(g.AccountStates, encoded)
		return err != nil
	})
	if err != nil {
		return g, fmt.Errorf("export accounts: %w", err)
	}
	if g.Committee, err = app.Committee.ExportGenesis(ctx); err != nil {
		return g, fmt.Errorf("export the committee: %w", err)
	}
	if g.Council, err = app.Council.ExportGenesis(ctx); err != nil {
		return g, fmt.Errorf("export councils: %w", err)
	}
	if g.KMS, err = app.KMS.ExportGenesis(ctx); err != nil {
		return g, fmt.Errorf("export services: %w", err)
	}
	return g, nil
}

// initAccounts writes new accounts, and those of an export with their numbers,
// keys and sequences.
func (app *App) initAccounts(ctx sdk.Context, g Genesis) error {
	if err := app.Accounts.Params.Set(ctx, authtypes.DefaultParams()); err != nil {
		return fmt.Errorf("write the parameters of auth: %w", err)
	}
	for i, encoded := range g.AccountStates {
		var account sdk.AccountI
		if err := app.Codec.UnmarshalInterfaceJSON(encoded, &account); err != nil {
			return fmt.Errorf("genesis account %d: %w", i, err)
		}
		app.Accounts.SetAccount(ctx, account)
	}
	for _, bech32 := range g.Accounts {
		b, err := app.Addresses.StringToBytes(bech32)
		if err != nil {
			return fmt.Errorf("genesis account %q: %w", bech32, err)
		}
		if app.Accounts.HasAccount(ctx, b) {
			return fmt.Errorf("genesis account %s is there twice", bech32)
		}
		app.Accounts.SetAccount(ctx, app.Accounts.NewAccountWithAddress(ctx, b))
	}
	return nil
}
