package chain

import (
	"context"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/secretvm/secretvm/kms/proof"
	"github.com/secretvm/secretvm/vm"
)

// Prove reads an entry of a store with its proof, of the state after the block of
// a height, 0 for the newest that a header already speaks of. States older than
// about a hundred blocks are gone.
func (app *App) Prove(ctx context.Context, store string, key []byte, height int64) (proof.Entry, error) {
	newest := app.LastBlockHeight() - 1
	if height == 0 {
		height = newest
	}
	if app.stores[store] == nil || len(key) == 0 {
		return proof.Entry{}, vm.Refuse(vm.CodeInvalid, "no store %.40q, or no key", store)
	}
	if height < 2 || height > newest {
		return proof.Entry{}, vm.Refuse(vm.CodeUnavailable, "the state after block %d cannot be proven", height).
			On("height", fmt.Sprint(height), fmt.Sprintf("2 to %d", newest)).Try("the header of the block after it signs it: wait for that block")
	}
	answer, err := app.Query(ctx, &abci.RequestQuery{Path: "/store/" + store + "/key", Data: key, Height: height, Prove: true})
	if err != nil {
		return proof.Entry{}, fmt.Errorf("prove an entry of %s: %w", store, err)
	}
	if answer.Code != 0 {
		return proof.Entry{}, vm.Refuse(vm.CodeUnavailable, "the state after block %d is not there any more: %.200s", height, answer.Log)
	}
	encoded, err := proof.Encode(answer.ProofOps)
	return proof.Entry{Store: store, Key: key, Value: answer.Value, Height: answer.Height, Proof: encoded}, err
}
