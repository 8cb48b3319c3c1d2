package chain

import (
	"errors"

	errorsmod "cosmossdk.io/errors"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"
)

// anteHandler is what every transaction goes through before its messages: the
// SDK's list without fees, and the module's own look before the mempool.
func (app *App) anteHandler() sdk.AnteHandler {
	list := sdk.ChainAnteDecorators(
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
	return func(ctx sdk.Context, tx sdk.Tx, simulate bool) (sdk.Context, error) {
		next, err := list(ctx, tx, simulate)
		return next, coded(err)
	}
}

// decoder reads transactions.
func (e Encoding) decoder() sdk.TxDecoder {
	decode := e.Tx.TxDecoder()
	return func(b []byte) (sdk.Tx, error) {
		tx, err := decode(b)
		return tx, coded(err)
	}
}

// coded gives a code to errors that have none. The SDK has such about strings
// that are no UTF-8 and signers that are no addresses; a result's code is part of
// what nodes agree about, and must not depend on which library found an error.
func coded(err error) error {
	if codespace, _, _ := errorsmod.ABCIInfo(err, false); err != nil && codespace == errorsmod.UndefinedCodespace {
		return sdkerrors.ErrTxDecode.Wrap(err.Error())
	}
	return err
}

// OnWaiting has f told of every transaction that enters the mempool, this node's
// own and those that others pass on. It must be set before the chain runs; f
// must not block, nor change anything that it is given.
func (app *App) OnWaiting(f func(tx []byte, msgs []sdk.Msg)) { app.waiting = f }

// OnDecided has f told of every block, how many bytes of transactions it had,
// before its state is committed. It must be set before the chain runs.
func (app *App) OnDecided(f func(bytes int)) { app.decided = f }

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
		if p.app.waiting != nil && !ctx.IsReCheckTx() && !simulate {
			p.app.waiting(ctx.TxBytes(), tx.GetMsgs())
		}
	}
	return next(ctx, tx, simulate)
}
