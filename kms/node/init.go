package node

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// InitOptions say what chain to make.
type InitOptions struct {
	ChainID    string
	TrustRoots []string                 // PEM of certificates to accept beside Intel's
	Recovery   *committee.RecoveryRules // nil: nobody keeps pieces of shares
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

// maxGas bounds a block's work to about a hundred verified quotes: some tenths of
// a second.
const maxGas = 400_000_000

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
	if err == nil && o.Recovery != nil {
		err = o.Recovery.Validate()
	}
	if err != nil {
		return Made{}, vm.Refuse(vm.CodeInvalid, "%v", err)
	}
	node, err := home.makeNode()
	if err != nil {
		return Made{}, err
	}
	owner, err := signer.New()
	if err != nil {
		return Made{}, err
	}
	if err := owner.Save(home.owner()); err != nil {
		return Made{}, err
	}
	node.Index, node.Operator, node.Status = 1, owner.Address, committee.NodeActive
	group, err := home.deal(node)
	if err != nil {
		return Made{}, err
	}
	if o.Recovery != nil {
		group.Recovery = o.Recovery.Current
	}
	rules := committee.DefaultParams(owner.Address)
	rules.UnattestedNodes = true
	state := chain.Genesis{
		Accounts: []string{owner.Address, node.Identity.Relay},
		Committee: committee.GenesisState{
			Params: rules, Nodes: []committee.Node{node}, Epochs: []committee.Epoch{{}}, Groups: []committee.Group{group},
			Recovery: o.Recovery,
		},
		KMS: types.GenesisState{Params: params},
	}
	doc, err := genesisDoc(o.ChainID, state)
	if err != nil {
		return Made{}, err
	}
	if err := home.writeGenesis(doc); err != nil {
		return Made{}, err
	}
	key, err := keys.ParsePublicKey(group.Commitments[0])
	return Made{
		Home: string(home), ChainID: o.ChainID, GroupKey: key, Threshold: group.Threshold(),
		Owner: owner.Address, TrustRoots: anchors(roots),
	}, err
}

// deal is the sharing of the group's secret for one node, by the code that
// shares it among many: with n = 1 the dealer is the only holder.
func (h Home) deal(only committee.Node) (committee.Group, error) {
	commitments, shares, err := keys.Split(rand.Reader, 1, 1)
	if err != nil {
		return committee.Group{}, err
	}
	if err := commitments.Verify(shares[0]); err != nil {
		return committee.Group{}, err
	}
	group, err := committee.NewGroup(0, 0, commitments, []committee.Holder{only.Identity.Holder(only.Index)})
	if err != nil {
		return group, err
	}
	return group, h.writeShare(shares[0], group)
}

// genesisDoc makes the genesis file of a chain that begins now.
func genesisDoc(chainID string, state chain.Genesis) (*cmttypes.GenesisDoc, error) {
	if err := state.Validate(); err != nil {
		return nil, err
	}
	appState, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("encode the genesis state: %w", err)
	}
	doc := &cmttypes.GenesisDoc{
		GenesisTime: time.Now().UTC(), ChainID: chainID, InitialHeight: 1, ConsensusParams: cmttypes.DefaultConsensusParams(),
		Validators: validators(state.Committee.Nodes), AppState: appState,
	}
	doc.ConsensusParams.Block.MaxGas = maxGas
	if err := doc.ValidateAndComplete(); err != nil {
		return nil, fmt.Errorf("make genesis: %w", err)
	}
	return doc, nil
}

// writeGenesis writes the genesis file, which makes the folder a home.
func (h Home) writeGenesis(doc *cmttypes.GenesisDoc) error {
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
		out[i] = attest.Anchor(r)
	}
	return out
}
