package kmstest

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
)

// Station is a chain of one node in this process, with its owner.
type Station struct {
	node.Running
	Made     node.Made
	Owner    signer.Account
	Encoding chain.Encoding

	t testing.TB
}

// Start makes a home and runs its node until the test ends.
func Start(t testing.TB, home node.InitOptions) *Station {
	t.Helper()
	folder := node.Home(filepath.Join(t.TempDir(), "kms"))
	s := &Station{t: t}
	var err error
	s.Made, err = node.Init(folder, home)
	must(t, err)
	s.Owner, err = folder.Owner()
	must(t, err)
	s.Encoding, err = chain.NewEncoding()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan node.Running, 1), make(chan error, 1)
	go func() {
		done <- node.Run(ctx, node.Options{
			Home: folder, Listen: "127.0.0.1:0", GRPC: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
			Timing: node.Timing{Commit: 10 * time.Millisecond, Idle: time.Second}, Ready: func(r node.Running) { ready <- r },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	select {
	case s.Running = <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("the node did not start: %v", err)
	}
	return s
}

// Sign makes the owner's transaction after skipping so many sequences.
func (s *Station) Sign(skip uint64, msgs ...sdk.Msg) []byte {
	s.t.Helper()
	tx, err := sign(s.t.Context(), s.API, s.Owner, s.Encoding, skip, msgs...)
	must(s.t, err)
	return tx
}

// Send sends the owner's messages in one transaction.
func (s *Station) Send(msgs ...sdk.Msg) {
	s.t.Helper()
	must(s.t, Send(s.t.Context(), s.API, s.Owner, msgs...))
}

// Send sends messages of an owner to the node at a URL in one transaction, and
// returns when a block has them.
func Send(ctx context.Context, api string, owner signer.Account, msgs ...sdk.Msg) error {
	encoding, err := chain.NewEncoding()
	if err != nil {
		return err
	}
	tx, err := sign(ctx, api, owner, encoding, 0, msgs...)
	if err != nil {
		return err
	}
	var result wire.TxResult
	return wire.Call(ctx, http.DefaultClient, http.MethodPost, api, wire.PathTx, wire.Tx{Tx: tx}, &result)
}

// gas is enough for anything that a test says in one transaction.
const gas = 100_000_000

func sign(ctx context.Context, api string, owner signer.Account, encoding chain.Encoding, skip uint64, msgs ...sdk.Msg) ([]byte, error) {
	var at wire.Account
	if err := wire.Call(ctx, http.DefaultClient, http.MethodGet, api, wire.PathAccounts+"/"+owner.Address, nil, &at); err != nil {
		return nil, err
	}
	at.Sequence += skip
	return owner.Sign(ctx, encoding, at, gas, msgs...)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
