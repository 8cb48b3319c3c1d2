package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/vm"
)

// LightBlock is a block's header with the commit and the validators that prove
// it: what a light client checks the chain by.
type LightBlock struct {
	Height int64  `json:"height"`
	Block  []byte `json:"block"` // protobuf of tendermint.types.LightBlock
}

// maxValidators is how many validators one page of CometBFT's has.
const maxValidators = 100

// light answers with a light block.
func (a *API) light(r *http.Request) ([]byte, error) {
	var at *int64
	if s := r.URL.Query().Get("height"); s != "" && s != "0" {
		h, err := strconv.ParseInt(s, 10, 64)
		if err != nil || h < 0 {
			return nil, vm.Refuse(vm.CodeMalformed, "height is %.40q, want a number", s)
		}
		at = &h
	}
	commit, err := a.comet.Commit(r.Context(), at)
	if err != nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "no commit of that height: %.200v", err)
	}
	header := commit.SignedHeader
	page, perPage := 1, maxValidators
	set, err := a.comet.Validators(r.Context(), &header.Height, &page, &perPage)
	if err != nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "no validators of that height: %.200v", err)
	}
	if set.Total > len(set.Validators) {
		return nil, fmt.Errorf("the chain has %d validators, more than one page", set.Total)
	}
	validators, err := cmttypes.ValidatorSetFromExistingValidators(set.Validators)
	if err != nil {
		return nil, fmt.Errorf("read the validators of block %d: %w", header.Height, err)
	}
	block := cmttypes.LightBlock{SignedHeader: &header, ValidatorSet: validators}
	encoded, err := block.ToProto()
	if err != nil {
		return nil, fmt.Errorf("encode block %d: %w", header.Height, err)
	}
	b, err := encoded.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode block %d: %w", header.Height, err)
	}
	return json.Marshal(LightBlock{Height: header.Height, Block: b})
}
