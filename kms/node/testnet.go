package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/p2p"

	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// TestnetOptions say what chain of many to make.
type TestnetOptions struct {
	ChainID    string
	Nodes      int
	TrustRoots []string // PEM of certificates to accept beside Intel's
	// FirstPort is the first of two for each node, interface and peers, on
	// 127.0.0.1; 0 takes ports that are free now.
	FirstPort int
	Profile   Profile                  // what lies between the nodes; empty: local
	Params    func(*committee.Params)  // changes the committee's parameters; nil: none
	Recovery  *committee.RecoveryRules // nil: nobody keeps pieces of shares
}

// MadeTestnet is what Testnet made. There is no group key yet: the nodes make it
// in the chain's first blocks, and status says it.
type MadeTestnet struct {
	ChainID    string        `json:"chain_id"`
	Threshold  int           `json:"threshold"`
	Owner      string        `json:"owner"` // and authority; its key is in the first home
	Homes      []MadeHome    `json:"homes"`
	TrustRoots []vm.Anchor   `json:"trust_roots"`
	Unattested bool          `json:"unattested"` // nobody checked what the nodes run
	Genesis    chain.Genesis `json:"-"`
}

// MadeHome is one node of a testnet.
type MadeHome struct {
	Home Home   `json:"home"`
	API  string `json:"api"`
	Peer string `json:"peer"` // id@host:port
}

// Testnet makes ready homes in dir/node1 to dir/nodeN of a chain whose founding
// nodes share a key that nobody ever holds whole: no dealer, the nodes make it
// themselves. One of the homes' owners, the first's, governs.
func Testnet(dir string, o TestnetOptions) (MadeTestnet, error) {
	made := MadeTestnet{ChainID: o.ChainID, Threshold: committee.Threshold(o.Nodes), Unattested: true}
	if !chainPattern.MatchString(o.ChainID) {
		return made, vm.Refuse(vm.CodeInvalid, "chain id is %q, want 1 to 50 of a-z, A-Z, 0-9, . _ and -", o.ChainID)
	}
	if o.Nodes < 1 || o.Nodes > 100 {
		return made, vm.Refuse(vm.CodeInvalid, "%d nodes, want 1 to 100", o.Nodes)
	}
	params := types.DefaultParams()
	params.TrustRoots = append(params.TrustRoots, o.TrustRoots...)
	roots, err := params.Roots()
	if err == nil && o.Recovery != nil {
		err = o.Recovery.Validate()
	}
	if err != nil {
		return made, vm.Refuse(vm.CodeInvalid, "%v", err)
	}
	made.TrustRoots = anchors(roots)
	ports, err := choosePorts(o.FirstPort, 2*o.Nodes)
	if err != nil {
		return made, err
	}

	// Every node draws its own keys.
	state := chain.Genesis{KMS: types.GenesisState{Params: params}}
	state.Committee.Epochs, state.Committee.Recovery = []committee.Epoch{{}}, o.Recovery
	for i := range o.Nodes {
		home := Home(filepath.Join(dir, fmt.Sprintf("node%d", i+1)))
		if home.Exists() {
			return made, vm.Refuse(vm.CodeExists, "%s holds a chain already, and its keys would be lost", home).Try("choose another folder")
		}
		node, err := home.makeNode()
		if err != nil {
			return made, err
		}
		operator, err := signer.New()
		if err != nil {
			return made, err
		}
		if err := operator.Save(home.owner()); err != nil {
			return made, err
		}
		id, err := p2p.LoadNodeKey(home.cometConfig(DefaultTiming).NodeKeyFile())
		if err != nil {
			return made, fmt.Errorf("read the peer key: %w", err)
		}
		node.Index, node.Operator, node.Status = uint32(i+1), operator.Address, committee.NodeActive
		node.Api, node.Peer = "http://"+address(ports[2*i]), string(id.ID())+"@"+address(ports[2*i+1])
		settings := Settings{Listen: address(ports[2*i]), PeerListen: address(ports[2*i+1]), Profile: cmp.Or(o.Profile, ProfileLocal), ReleaseRate: testnetRate}
		if err := home.writeSettings(settings); err != nil {
			return made, err
		}
		state.Accounts = append(state.Accounts, operator.Address, node.Identity.Relay)
		state.Committee.Nodes = append(state.Committee.Nodes, node)
		made.Homes = append(made.Homes, MadeHome{Home: home, API: node.Api, Peer: node.Peer})
	}

	// All have the same genesis.
	made.Owner = state.Committee.Nodes[0].Operator
	state.Committee.Params = committee.DefaultParams(made.Owner)
	state.Committee.Params.UnattestedNodes = true
	if o.Params != nil {
		o.Params(&state.Committee.Params)
	}
	made.Genesis = state
	doc, err := genesisDoc(o.ChainID, state)
	if err != nil {
		return made, err
	}
	for _, h := range made.Homes {
		if err := h.Home.writeGenesis(doc); err != nil {
			return made, err
		}
	}
	b, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return made, fmt.Errorf("encode what was made: %w", err)
	}
	return made, os.WriteFile(filepath.Join(dir, "testnet.json"), append(b, '\n'), 0o600)
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// testnetRate lets all machines of one computer, which share an address, ask.
const testnetRate = 1000

// choosePorts returns n ports of 127.0.0.1: those from first on, or free ones.
func choosePorts(first, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		ports[i] = first + i
		if first != 0 {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find free ports: %w", err)
		}
		defer func() { _ = l.Close() }()
		free, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("find free ports: %s is no TCP address", l.Addr())
		}
		ports[i] = free.Port
	}
	return ports, nil
}
