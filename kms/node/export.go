package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtstate "github.com/cometbft/cometbft/state"
	cmtstore "github.com/cometbft/cometbft/store"
	cmttypes "github.com/cometbft/cometbft/types"
	cosmosdb "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/proof"
	"github.com/secretvm/secretvm/vm"
)

// ExportOptions say of what an export is.
type ExportOptions struct {
	Height  int64         // after which block; 0: the newest
	Trusted *proof.Header // a block of the chain that the caller knows; nil: genesis is where trust begins
}

// Exported is a chain's state as a genesis file from which it goes on, and what
// shows that it is the chain's. It is the same bytes from every copy of the data.
type Exported struct {
	ChainID string       `json:"chain_id"`
	Height  int64        `json:"height"`   // the state is that after this block
	AppHash string       `json:"app_hash"` // computed from every entry of it, hex
	Time    time.Time    `json:"time"`     // of that block
	Header  proof.Header `json:"header"`   // by which validators signed the state, or the block that made it
	Signed  int          `json:"signed"`   // how many of …
	Of      int          `json:"of"`       // … validators
	SHA256  vm.Hash      `json:"sha256"`   // of the file
	File    []byte       `json:"-"`
}

// archive is the data of a node that does not run.
type archive struct {
	home   Home
	doc    *cmttypes.GenesisDoc
	app    cosmosdb.DB
	states cmtstate.Store
	blocks *cmtstore.BlockStore
	dbs    []interface{ Close() error }
}

// openArchive opens the data of a stopped node, or a copy of it.
func openArchive(home Home) (a *archive, err error) {
	a = &archive{home: home}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.doc, _, err = home.readGenesis(); err != nil {
		return a, err
	}
	for _, name := range []string{"application", "state", "blockstore"} {
		if _, err := os.Stat(filepath.Join(home.data(), name+".db")); err != nil {
			return a, vm.Refuse(vm.CodeInvalid, "%s holds no data of a node: %v", home, err).Try("name a node's folder, or a copy of it, with --home")
		}
	}
	if a.app, err = cosmosdb.NewDB("application", cosmosdb.GoLevelDBBackend, home.data()); err != nil {
		return a, inUse(home, err)
	}
	a.dbs = append(a.dbs, a.app)
	open := func(name string) dbm.DB {
		db, openErr := dbm.NewDB(name, dbm.GoLevelDBBackend, home.data())
		if openErr != nil {
			err = errors.Join(err, inUse(home, openErr))
			return nil
		}
		a.dbs = append(a.dbs, db)
		return db
	}
	states, blocks := open("state"), open("blockstore")
	if err != nil {
		return a, err
	}
	a.states, a.blocks = cmtstate.NewStore(states, cmtstate.StoreOptions{}), cmtstore.NewBlockStore(blocks)
	return a, nil
}

func inUse(home Home, err error) error {
	return fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeUnavailable, "the data of %s is in use, or damaged", home).
		Try("stop the node first, or work on a copy of its folder"), err)
}

func (a *archive) close() error {
	var err error
	for _, db := range a.dbs {
		err = errors.Join(err, db.Close())
	}
	return err
}

// light returns a block as light clients check it.
func (a *archive) light(_ context.Context, height int64) (*cmttypes.LightBlock, error) {
	if height == 0 {
		height = a.blocks.Height()
	}
	meta, commit := a.blocks.LoadBlockMeta(height), a.blocks.LoadBlockCommit(height)
	if commit == nil {
		commit = a.blocks.LoadSeenCommit(height)
	}
	if meta == nil || commit == nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "block %d is not in %s", height, a.home).Try("name a later block that you trust")
	}
	validators, err := a.states.LoadValidators(height)
	if err != nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "the validators of block %d are not in %s: %.200v", height, a.home, err).Try("name a later block that you trust")
	}
	return &cmttypes.LightBlock{SignedHeader: &cmttypes.SignedHeader{Header: &meta.Header, Commit: commit}, ValidatorSet: validators}, nil
}

// Export reads a chain's state out of a stopped node's home, or of any copy, and
// checks that it is what the validators signed: its app hash, computed from every
// entry, is in a header that is followed from genesis. Of the newest block there
// is no such header; it is executed again on the state before it.
func Export(ctx context.Context, home Home, o ExportOptions) (out Exported, err error) {
	a, err := openArchive(home)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	app, err := chain.Open(a.app, a.doc.ChainID, 0)
	if err != nil {
		return out, err
	}
	newest := app.LastBlockHeight()
	if o.Height == 0 {
		o.Height = newest
	}
	if o.Height > newest || o.Height <= a.doc.InitialHeight {
		return out, vm.Refuse(vm.CodeInvalid, "the state after block %d cannot be exported", o.Height).
			On("height", fmt.Sprint(o.Height), fmt.Sprintf("%d to %d", a.doc.InitialHeight+1, newest))
	}
	root, err := app.Root(o.Height)
	if err != nil {
		return out, vm.Refuse(vm.CodeUnavailable, "the state after block %d cannot be read: %.300v", o.Height, err).Try("states older than about a hundred blocks are gone: choose a newer one")
	}
	header, err := a.signed(ctx, app, o, root)
	if err != nil {
		return out, err
	}
	out = Exported{ChainID: a.doc.ChainID, Height: o.Height, AppHash: fmt.Sprintf("%x", root), Header: proof.Header{Height: header.Height, Hash: vm.Hash(header.Hash())}}
	out.Signed, out.Of = proof.Signers(header)
	state, err := app.Export(o.Height)
	if err != nil {
		return out, err
	}
	doc, err := a.genesisAfter(o.Height, root, state)
	if err != nil {
		return out, err
	}
	out.Time = doc.GenesisTime
	out.File, err = encodeGenesis(doc)
	out.SHA256 = vm.HashOf(out.File)
	return out, err
}

// signed returns the header that vouches for a state.
func (a *archive) signed(ctx context.Context, app *chain.App, o ExportOptions, root []byte) (*cmttypes.LightBlock, error) {
	follow := proof.Chain{Genesis: a.doc, Trusted: o.Trusted, Fetch: a.light, Now: time.Now()}
	if a.blocks.Height() > o.Height {
		header, err := follow.Header(ctx, o.Height+1)
		if err == nil && !bytes.Equal(header.AppHash, root) {
			err = altered(o.Height, root, header.AppHash)
		}
		return header, err
	}
	header, err := follow.Header(ctx, o.Height)
	if err != nil {
		return nil, err
	}
	before, err := app.Root(o.Height - 1)
	if err != nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "the state before block %d cannot be read: %.300v", o.Height, err)
	}
	if !bytes.Equal(header.AppHash, before) {
		return nil, altered(o.Height-1, before, header.AppHash)
	}
	block := a.blocks.LoadBlock(o.Height)
	if block == nil || !bytes.Equal(block.Hash(), header.Hash()) || !bytes.Equal(block.Data.Hash(), header.DataHash) {
		return nil, vm.Refuse(vm.CodeSignature, "block %d is not the one that the validators signed", o.Height)
	}
	made, err := chain.Replay(a.app, block)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(made, root) {
		return nil, altered(o.Height, root, made)
	}
	return header, nil
}

func altered(height int64, got, want []byte) error {
	return vm.Refuse(vm.CodeSignature, "the state after block %d is not what the validators signed: this copy was altered", height).
		On("app hash", fmt.Sprintf("%x", got), fmt.Sprintf("%x", want)).Try("take the copy of another node")
}

// genesisAfter makes the genesis file of the same chain after a block.
func (a *archive) genesisAfter(height int64, root []byte, state chain.Genesis) (*cmttypes.GenesisDoc, error) {
	meta := a.blocks.LoadBlockMeta(height)
	if meta == nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "block %d is not in %s", height, a.home)
	}
	params, err := a.states.LoadConsensusParams(height + 1)
	if err != nil {
		return nil, fmt.Errorf("read the consensus parameters after block %d: %w", height, err)
	}
	doc := &cmttypes.GenesisDoc{
		GenesisTime: meta.Header.Time, ChainID: a.doc.ChainID, InitialHeight: height + 1, ConsensusParams: &params,
		Validators: validating(state.Committee.Nodes), AppHash: root,
	}
	return doc, setState(doc, state)
}

// validating are the validators of a state.
func validating(nodes []committee.Node) []cmttypes.GenesisValidator {
	var active []committee.Node
	for _, n := range nodes {
		if n.Status == committee.NodeActive || n.Status == committee.NodeLeaving {
			active = append(active, n)
		}
	}
	return validators(active)
}

// setState puts the application's state into a genesis file.
func setState(doc *cmttypes.GenesisDoc, state chain.Genesis) error {
	if err := state.Validate(); err != nil {
		return err
	}
	b, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the genesis state: %w", err)
	}
	doc.AppState = b
	if err := doc.ValidateAndComplete(); err != nil {
		return fmt.Errorf("make genesis: %w", err)
	}
	return nil
}

// encodeGenesis writes a genesis file: the same bytes for the same chain.
func encodeGenesis(doc *cmttypes.GenesisDoc) ([]byte, error) {
	b, err := cmtjson.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode genesis: %w", err)
	}
	return append(b, '\n'), nil
}
