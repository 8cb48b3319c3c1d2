package node

import (
	"context"
	"errors"
	"sync"

	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// relayGas is the gas of a relayed message: what the largest evidence costs.
const relayGas = 20_000_000

// relay sends machines' messages to the chain under the node's own account,
// because machines have none (docs/decisions/0003).
type relay struct {
	account signer.Account
	ledger  *ledger

	releases *batch
	flights  *flights

	mu   sync.Mutex
	next *wire.Account // with the sequence of the next transaction; nil: read it
}

func newRelay(account signer.Account, l *ledger) *relay {
	r := &relay{account: account, ledger: l, flights: l.flights}
	r.releases = newBatch(r)
	return r
}

// send signs a message, waits for its block and reads its response. Sending is
// one after the other, so that sequences are used in order; waiting is not.
func (r *relay) send(ctx context.Context, msg sdk.Msg, into proto.Message) error {
	result, err := r.deliver(ctx, relayGas, msg)
	if err != nil {
		return err
	}
	return chain.Response(result.Data, into)
}

// post is send for messages whose response says nothing.
func (r *relay) post(ctx context.Context, gas uint64, msg sdk.Msg) error {
	_, err := r.deliver(ctx, gas, msg)
	return err
}

func (r *relay) deliver(ctx context.Context, gas uint64, msg sdk.Msg) (wire.TxResult, error) {
	wait, err := r.enqueueAgain(ctx, gas, msg)
	if err != nil {
		return wire.TxResult{}, err
	}
	return wait(ctx)
}

// waiting waits for the block of a transaction.
type waiting func(context.Context) (wire.TxResult, error)

func (r *relay) enqueue(ctx context.Context, gas uint64, msgs ...sdk.Msg) (waiting, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		account, err := r.ledger.account(r.account.Address)
		if err != nil {
			return nil, err
		}
		r.next = &account
	}
	tx, err := r.account.Sign(ctx, r.ledger.Encoding, *r.next, gas, msgs...)
	if err != nil {
		return nil, err
	}
	wait, err := r.ledger.submit(ctx, tx)
	if err != nil {
		if errors.Is(err, errSequence) {
			r.next = nil
		}
		return nil, err
	}
	r.next.Sequence++
	return wait, nil
}

// release relays a request and returns the chain's decision; a refusal is the
// error.
func (r *relay) release(ctx context.Context, q wire.Release) (wire.Grant, error) {
	msg := &types.MsgRelease{
		Relay: r.account.Address, Service: q.Service, VmUid: q.InstanceID, HpkeKey: q.HPKEKey, SessionKey: q.SessionKey,
		Height: q.Height, BlockHash: q.BlockHash[:], Config: q.Config, Keys: types.FromIDs(q.Keys),
	}
	if err := msg.SetEvidence(q.Evidence); err != nil {
		return wire.Grant{}, err
	}
	if err := msg.ValidateBasic(); err != nil {
		return wire.Grant{}, basic(err)
	}
	answer, err := r.releases.send(ctx, msg)
	if err != nil {
		return wire.Grant{}, err
	}
	switch {
	case answer.Refusal != nil:
		return wire.Grant{}, answer.Refusal.Refusal()
	case answer.Grant == nil:
		return wire.Grant{}, errors.New("the chain decided neither way")
	}
	return r.ledger.complete(*answer.Grant)
}

// advance relays a machine's word about its disk.
func (r *relay) advance(ctx context.Context, q wire.Advance) (wire.Advanced, error) {
	msg := &types.MsgAdvance{Relay: r.account.Address, Grant: q.Grant[:], Generation: q.Generation, Signature: q.Signature}
	if err := msg.ValidateBasic(); err != nil {
		return wire.Advanced{}, basic(err)
	}
	var answer types.MsgAdvanceResponse
	if err := r.send(ctx, msg, &answer); err != nil {
		return wire.Advanced{}, err
	}
	return wire.Advanced{Generation: answer.Generation}, nil
}

// basic makes a vm.Refusal of a message's own complaint.
func basic(err error) error {
	codespace, number, text := abciInfo(err)
	if code, ok := types.CodeOf(codespace, number); ok {
		return vm.Refuse(code, "%.500s", text)
	}
	return err
}
