package chain

import (
	"container/list"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/runtime"
	pruning "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee"
	committeetypes "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/council"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// appName is in CometBFT's handshake.
const appName = "kmsd"

// cachedNodes is how many nodes of each store's tree stay in memory.
const cachedNodes = 20_000

// App is the application. Keepers are exported for reading committed state
// through Read; only transactions write.
type App struct {
	*baseapp.BaseApp
	Encoding
	Accounts  authkeeper.AccountKeeper
	Committee committee.Keeper
	Council   council.Keeper
	KMS       kms.Keeper
	consensus consensuskeeper.Keeper
	upgrades  *upgradekeeper.Keeper
	program   program
	newest    atomic.Pointer[committed]         // nil before the first block since the start
	waiting   func(tx []byte, msgs []sdk.Msg)   // see OnWaiting
	decided   func(bytes int)                   // see OnDecided
	stores    map[string]*storetypes.KVStoreKey // by name
}

// Genesis is the application's state at height 0: the chain's accounts, which
// are owners, operators and relays, and the modules.
type Genesis struct {
	Accounts  []string                    `json:"accounts"` // bech32 addresses of new ones
	Committee committeetypes.GenesisState `json:"committee"`
	Council   counciltypes.GenesisState   `json:"council"`
	KMS       types.GenesisState          `json:"kms"`

	AccountStates []json.RawMessage `json:"account_states,omitempty"` // of an export, with numbers, keys and sequences
}

// Validate checks that the state can start a chain.
func (g Genesis) Validate() error {
	return errors.Join(g.Committee.Validate(), g.Council.Validate(), g.KMS.Validate())
}

// New makes the application over db and loads its last committed state. Options
// are for what is a node's own affair and no other's.
func New(logger log.Logger, db dbm.DB, chainID string, options ...func(*baseapp.BaseApp)) (*App, error) {
	return newApp(logger, db, chainID, this(), 0, options...)
}

// newApp loads the state of a height, the newest for 0.
func newApp(logger log.Logger, db dbm.DB, chainID string, program program, height int64, options ...func(*baseapp.BaseApp)) (*App, error) {
	encoding, err := NewEncoding()
	if err != nil {
		return nil, err
	}
	if err := begin(db); err != nil {
		return nil, err
	}
	db = whole{db}
	memory := &decoder{decode: encoding.decoder(), known: make(map[vm.Hash]*list.Element)}
	app := &App{Encoding: encoding, program: program, BaseApp: baseapp.NewBaseApp(appName, logger, db, memory.Decode, append([]func(*baseapp.BaseApp){
		baseapp.SetChainID(chainID),
		baseapp.EnableBlockGasMeter(),
		// States older than a few blocks are of no use: nodes answer for the
		// newest, and a block can be replayed from the one before.
		baseapp.SetPruning(pruning.NewCustomPruningOptions(100, 10)),
		// The library's own bound is for small entries; a grant has 2 KB.
		baseapp.SetIAVLCacheSize(cachedNodes),
		// Nor does every entry lie in the database a second time, beside the tree,
		// to be found faster: what is written most here is never read again. The
		// memory for such entries has no bound but their number.
		baseapp.SetIAVLDisableFastNode(true),
	}, options...)...)}
	app.SetInterfaceRegistry(encoding.Registry)
	app.SetTxEncoder(encoding.Tx.TxEncoder())
	app.SetProtocolVersion(program.versions[rules])

	// Stores and keepers. Nobody is the authority: parameters are genesis'.
	stores := storetypes.NewKVStoreKeys(authtypes.StoreKey, consensustypes.StoreKey, committeetypes.StoreKey, counciltypes.StoreKey, types.StoreKey, upgradetypes.StoreKey)
	app.stores = stores
	app.MountKVStores(stores)
	app.SetStoreLoader(loader(slices.Sorted(maps.Keys(stores)), program.upgrades))
	nobody := authtypes.NewModuleAddress(types.ModuleName).String()
	app.consensus = consensuskeeper.NewKeeper(encoding.Codec, runtime.NewKVStoreService(stores[consensustypes.StoreKey]), nobody, runtime.EventService{})
	app.SetParamStore(app.consensus.ParamsStore)
	app.Accounts = authkeeper.NewAccountKeeper(encoding.Codec, runtime.NewKVStoreService(stores[authtypes.StoreKey]),
		authtypes.ProtoBaseAccount, nil, encoding.Addresses, types.Bech32Prefix, nobody)
	app.Committee, err = committee.NewKeeper(encoding.Codec, runtime.NewKVStoreService(stores[committeetypes.StoreKey]))
	if err != nil {
		return nil, err
	}
	app.Council, err = council.NewKeeper(encoding.Codec, runtime.NewKVStoreService(stores[counciltypes.StoreKey]), app.Accounts, app.MsgServiceRouter())
	if err != nil {
		return nil, err
	}
	app.KMS, err = kms.NewKeeper(encoding.Codec, runtime.NewKVStoreService(stores[types.StoreKey]), app.Committee)
	if err != nil {
		return nil, err
	}

	app.upgrades = newUpgrades(app, stores[upgradetypes.StoreKey], nobody)
	app.setUpgrades()

	// What blocks and transactions do.
	upgradetypes.RegisterMsgServer(app.MsgServiceRouter(), scheduled{app})
	counciltypes.RegisterMsgServer(app.MsgServiceRouter(), council.NewMsgServer(app.Council))
	committeetypes.RegisterMsgServer(app.MsgServiceRouter(), committee.NewMsgServer(app.Committee, app.KMS, app.Council))
	types.RegisterMsgServer(app.MsgServiceRouter(), kms.NewMsgServer(app.KMS))
	app.registerQueries()
	app.SetInitChainer(app.initChain)
	app.SetBeginBlocker(func(ctx sdk.Context) (sdk.BeginBlock, error) {
		return sdk.BeginBlock{}, app.KMS.BeginBlock(ctx)
	})
	app.SetEndBlocker(func(ctx sdk.Context) (sdk.EndBlock, error) {
		if err := app.Council.EndBlock(ctx); err != nil {
			return sdk.EndBlock{}, err
		}
		validators, err := app.Committee.EndBlock(ctx)
		return sdk.EndBlock{ValidatorUpdates: validators}, err
	})
	app.SetAnteHandler(app.anteHandler())
	app.SetPrepareCheckStater(func(ctx sdk.Context) { app.commit(ctx.BlockHeader()) })
	load := app.LoadLatestVersion
	if height != 0 {
		load = func() error { return app.LoadVersion(height) }
	}
	if err := load(); err != nil {
		return nil, fmt.Errorf("load the chain's state: %w", err)
	}
	return app, nil
}

// initChain writes the genesis state. The validators are the nodes: there is no
// staking, and baseapp compares them with the genesis file's.
func (app *App) initChain(ctx sdk.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var g Genesis
	if err := json.Unmarshal(req.AppStateBytes, &g); err != nil {
		return nil, fmt.Errorf("decode the genesis state: %w", err)
	}
	if err := app.initAccounts(ctx, g); err != nil {
		return nil, err
	}
	if err := app.upgrades.SetModuleVersionMap(ctx, app.program.versions); err != nil {
		return nil, fmt.Errorf("write the versions of the chain: %w", err)
	}
	validators, err := app.Committee.InitGenesis(ctx, g.Committee)
	if err != nil {
		return nil, err
	}
	if err := app.Council.InitGenesis(ctx, g.Council); err != nil {
		return nil, err
	}
	if err := app.KMS.InitGenesis(ctx, g.KMS); err != nil {
		return nil, err
	}
	return &abci.ResponseInitChain{Validators: validators}, nil
}
