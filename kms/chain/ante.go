package chain

import (
	"errors"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"
)

// anteHandler is what every transaction goes through before its messages: the
// SDK's list without fees, and the module's own look before the mempool.
func (app *App) anteHandler() sdk.AnteHandler {
	return sdk.ChainAnteDecorators(
		ante.NewSetUpContextDecorator(), // gas meter; must be first
		ante.NewExtensionOptionsDecorator(nil),
		ante.NewValidateBasicDecorator(),
		ante.NewTxTimeoutHeightDecorator(),
		ante.NewValidateMemoDecorator(app.Accounts),
		ante.NewConsumeGasForTxSizeDecorator(app.Accounts),
		ante.NewSetPubKeyDecorator(app.Accounts), // before all that verifies signatures
		ante.NewValidateSigCountDecorator(app.Accounts),
		ante.NewSigGasConsumeDecorator(app.Accounts, ante.DefaultSigVerificationGasConsumer),
		ante.NewSigVerificationDecorator(app.Accounts, app.Tx.SignModeHandler()),
		ante.NewIncrementSequenceDecorator(app.Accounts),
		precheck{app},
	)
}

// precheck keeps out of the mempool what the modules would refuse without
// recording it. Blocks do not run it, because their messages find out themselves.
type precheck struct{ app *App }

// AnteHandle implements sdk.AnteDecorator.
func (p precheck) AnteHandle(ctx sdk.Context, tx sdk.Tx, simulate bool, next sdk.AnteHandler) (sdk.Context, error) {
	if ctx.IsCheckTx() || ctx.IsReCheckTx() {
		for _, msg := range tx.GetMsgs() {
			if err := errors.Join(p.app.Committee.Precheck(ctx, msg), p.app.KMS.Precheck(ctx, msg)); err != nil {
				return ctx, err
			}
		}
	}
	return next(ctx, tx, simulate)
}
