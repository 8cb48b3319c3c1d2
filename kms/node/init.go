package node

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// InitOptions say what chain to make.
type InitOptions struct {
	ChainID    string
	TrustRoots []string // PEM of certificates to accept beside Intel's
}

// Made is what Init made.
type Made struct {
	Home       string         `json:"home"`
	ChainID    string         `json:"chain_id"`
	GroupKey   keys.PublicKey `json:"group_key"`
	Threshold  int            `json:"threshold"`
	Owner      string         `json:"owner"`
	TrustRoots []vm.Anchor    `json:"trust_roots"`
}

// maxGas bounds a block's work to a few tens of verified quotes.
const maxGas = 200_000_000

var chainPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,49}$`)

// Init makes the home of a chain with this one node: group key, share,
// validator, relay and a development owner. An existing chain is never touched.
func Init(home Home, o InitOptions) (Made, error) {
	if !chainPattern.MatchString(o.ChainID) {
		return Made{}, vm.Refuse(vm.CodeInvalid, "chain id is %q, want 1 to 50 of a-z, A-Z, 0-9, . _ and -", o.ChainID)
	}
	if home.Exists() {
		return Made{}, vm.Refuse(vm.CodeExists, "%s holds a chain already, and its keys would be lost", home).
			Try("start it with kmsd start, or choose another --home")
	}
	params := types.DefaultParams()
	params.TrustRoots = append(params.TrustRoots, o.TrustRoots...)
	roots, err := params.Roots()
	if err != nil {
		return Made{}, vm.Refuse(vm.CodeInvalid, "%v", err)
	}
	for _, dir := range []string{"config", "data", "keys"} {
		if err := os.MkdirAll(filepath.Join(string(home), dir), 0o700); err != nil {
			return Made{}, fmt.Errorf("make the home: %w", err)
		}
	}
	owner, relay, err := home.makeAccounts()
	if err != nil {
		return Made{}, err
	}
	group, commitments, err := home.deal(relay)
	if err != nil {
		return Made{}, err
	}
	state := chain.Genesis{Accounts: []string{owner, relay}, KMS: types.GenesisState{Params: params, Group: group}}
	if err := home.writeGenesis(o.ChainID, state); err != nil {
		return Made{}, err
	}
	return Made{
		Home: string(home), ChainID: o.ChainID, GroupKey: commitments.GroupKey(), Threshold: commitments.Threshold(),
		Owner: owner, TrustRoots: anchors(roots),
	}, nil
}

// makeAccounts draws the owner's and the relay's key.
func (h Home) makeAccounts() (owner, relay string, err error) {
	for path, address := range map[string]*string{h.owner(): &owner, h.relay(): &relay} {
		account, err := signer.New()
		if err != nil {
			return "", "", err
		}
		if err := account.Save(path); err != nil {
			return "", "", err
		}
		*address = account.Address
	}
	return owner, relay, nil
}

// deal is the sharing of the group's secret for one node, by the code that
// shares it among many: with n = 1 the dealer is the only holder.
func (h Home) deal(relay string) (types.Group, keys.Commitments, error) {
	commitments, shares, err := keys.Split(rand.Reader, 1, 1)
	if err != nil {
		return types.Group{}, nil, err
	}
	var group types.Group
	for _, c := range commitments {
		group.Commitments = append(group.Commitments, c.Bytes())
	}
	for _, s := range shares {
		if err := commitments.Verify(s); err != nil {
			return group, nil, err
		}
		group.Nodes = append(group.Nodes, types.Node{Index: s.Index, Relay: relay, PublicKey: s.Public().Bytes()})
	}
	return group, commitments, h.writeShare(shares[0], commitments.GroupKey())
}

// writeGenesis makes the validator and peer keys and, last, the genesis file.
func (h Home) writeGenesis(chainID string, state chain.Genesis) error {
	if err := state.KMS.Validate(); err != nil {
		return err
	}
	config := h.cometConfig(DefaultTiming)
	if _, err := p2p.LoadOrGenNodeKey(config.NodeKeyFile()); err != nil {
		return fmt.Errorf("make the peer key: %w", err)
	}
	validator := privval.LoadOrGenFilePV(config.PrivValidatorKeyFile(), config.PrivValidatorStateFile())
	public, err := validator.GetPubKey()
	if err != nil {
		return fmt.Errorf("make the validator key: %w", err)
	}
	appState, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the genesis state: %w", err)
	}
	doc := &cmttypes.GenesisDoc{
		GenesisTime: time.Now().UTC(), ChainID: chainID, InitialHeight: 1, ConsensusParams: cmttypes.DefaultConsensusParams(),
		Validators: []cmttypes.GenesisValidator{{Address: public.Address(), PubKey: public, Power: 10, Name: config.Moniker}},
		AppState:   appState,
	}
	doc.ConsensusParams.Block.MaxGas = maxGas
	if err := doc.ValidateAndComplete(); err != nil {
		return fmt.Errorf("make genesis: %w", err)
	}
	incomplete := h.genesis() + ".new"
	if err := doc.SaveAs(incomplete); err != nil {
		return fmt.Errorf("write genesis: %w", err)
	}
	b, err := os.ReadFile(incomplete)
	if err != nil {
		return fmt.Errorf("write genesis: %w", err)
	}
	if err := signer.WriteFile(h.genesis(), b); err != nil {
		return err
	}
	return os.Remove(incomplete)
}

// anchors describes certificates as verdicts name them.
func anchors(roots []*x509.Certificate) []vm.Anchor {
	out := make([]vm.Anchor, len(roots))
	for i, r := range roots {
		out[i] = vm.Anchor{Subject: r.Subject.String(), SHA256: vm.HashOf(r.Raw), Intel: isIntel(r)}
	}
	return out
}
