package node

import (
	"bytes"

	cmttypes "github.com/cometbft/cometbft/types"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/vm"
)

// JoinOptions say which chain a new home is for.
type JoinOptions struct {
	Genesis    []byte   // the chain's genesis file
	Peers      []string // id@host:port of nodes that the settings keep
	Listen     string   // host:port of the interface
	PeerListen string   // host:port where other nodes connect; 127.0.0.1:0 tells nobody
	Profile    Profile
	Loopback   string // host at which what others call 127.0.0.1 is found; empty: there
}

// Joiner is a home whose node the chain does not know yet, and what is to be
// said of it in a MsgJoin or MsgRotate.
type Joiner struct {
	Home         Home    `json:"home"`
	ChainID      string  `json:"chain_id"`
	Relay        string  `json:"relay"`
	ConsensusKey []byte  `json:"consensus_key"`
	SealingKey   []byte  `json:"sealing_key"`
	API          string  `json:"api"`
	Peer         string  `json:"peer"` // id@host:port
	Genesis      vm.Hash `json:"genesis_sha256"`
}

// Prepare makes a home for a node that is to join a chain: its own keys, the
// chain's genesis, and whom to ask for blocks. It can be started at once, and
// follows the chain until the committee gives it a share.
func Prepare(home Home, o JoinOptions) (Joiner, error) {
	joiner := Joiner{Home: home, Genesis: vm.HashOf(o.Genesis)}
	if home.Exists() {
		return joiner, vm.Refuse(vm.CodeExists, "%s holds a chain already, and its keys would be lost", home).Try("choose another --home")
	}
	doc, err := cmttypes.GenesisDocFromJSON(o.Genesis)
	if err != nil {
		return joiner, vm.Refuse(vm.CodeMalformed, "read the chain's genesis: %v", err)
	}
	if _, err := appState(doc); err != nil {
		return joiner, vm.Refuse(vm.CodeMalformed, "read the chain's genesis: %v", err)
	}
	node, err := home.makeNode()
	if err != nil {
		return joiner, err
	}
	self, err := home.identity()
	if err != nil {
		return joiner, err
	}
	settings := Settings{Listen: o.Listen, PeerListen: o.PeerListen, Peers: o.Peers, Profile: o.Profile, Loopback: o.Loopback, ReleaseRate: defaultRate}
	if settings.Profile == "" {
		settings.Profile = ProfileLocal
	}
	if err := home.writeSettings(settings); err != nil {
		return joiner, err
	}
	joiner.ChainID, joiner.Relay = doc.ChainID, node.Identity.Relay
	joiner.ConsensusKey, joiner.SealingKey = node.Identity.ConsensusKey, node.Identity.SealingKey
	joiner.API, joiner.Peer = "http://"+o.Listen, string(self.peer)+"@"+o.PeerListen
	return joiner, home.writeGenesis(doc)
}

// Message is the request to admit the node, as sender says it for operator.
// Evidence is for the caller to add.
func (j Joiner) Message(sender, operator string) *committee.MsgJoin {
	return &committee.MsgJoin{
		Sender: sender, Operator: operator, Relay: j.Relay, ConsensusKey: bytes.Clone(j.ConsensusKey), SealingKey: bytes.Clone(j.SealingKey),
		Api: j.API, Peer: j.Peer,
	}
}
