package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/keys/recovery"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/vm"
)

// labelRecovery is the domain of the digest that dealers of a recovery agree to.
const labelRecovery = "secretvm/v1/recovery"

// Successor is a new home whose node is to go on with a chain: its public half.
type Successor struct {
	Relay        string `json:"relay"`
	ConsensusKey []byte `json:"consensus_key"`
	SealingKey   []byte `json:"sealing_key"`
	RecoveryKey  []byte `json:"recovery_key"` // HPKE, to which the committee's members seal its share
	API          string `json:"api"`
	Peer         string `json:"peer"` // id@host:port
}

// Plan is how a chain is recovered: all that the members of the committee agree
// to beside the export, from which everything else follows.
type Plan struct {
	ChainID string      `json:"chain_id"`
	Export  vm.Hash     `json:"export"`            // SHA-256 of the file
	Time    time.Time   `json:"time"`              // at which the chain goes on
	Nodes   []Successor `json:"nodes"`             // numbered from 1
	Without []uint32    `json:"without,omitempty"` // nodes of before whose backups are not used
}

// Succession is what a plan means: the chain that goes on, and in which round
// each epoch's key is handed to its nodes.
type Succession struct {
	plan    Plan
	digest  vm.Hash // of the plan
	doc     *cmttypes.GenesisDoc
	state   chain.Genesis // without groups
	context []byte        // digest of the genesis without groups
	epochs  []succeeded
}

// succeeded is one epoch.
type succeeded struct {
	epoch    uint64
	combined recovery.Combined
	round    dkg.Round
}

// PrepareSuccessor makes a home with keys of its own for a node that is to go on
// with a chain whose nodes are lost. It is no chain's until Install.
func PrepareSuccessor(home Home, s Settings) (Successor, error) {
	var out Successor
	if _, err := readSealing(home.recovery()); err == nil || home.Exists() {
		return out, vm.Refuse(vm.CodeExists, "%s holds a node's keys already", home).Try("choose another --home")
	}
	made, err := home.makeNode()
	if err != nil {
		return out, err
	}
	self, err := home.identity()
	if err != nil {
		return out, err
	}
	key, err := keys.NewRecipient()
	if err != nil {
		return out, err
	}
	s.ReleaseRate = defaultRate
	if err := home.writeSettings(s); err != nil {
		return out, err
	}
	return Successor{
		Relay: made.Identity.Relay, ConsensusKey: made.Identity.ConsensusKey, SealingKey: made.Identity.SealingKey, RecoveryKey: key.Public(),
		API: "http://" + s.Listen, Peer: string(self.peer) + "@" + s.PeerListen,
	}, writeSealing(home.recovery(), key)
}

// NewPlan plans to go on with an export's chain on new nodes.
func NewPlan(export []byte, nodes []Successor, without []uint32, now time.Time) (Plan, *Succession, error) {
	doc, err := cmttypes.GenesisDocFromJSON(export)
	if err != nil {
		return Plan{}, nil, vm.Refuse(vm.CodeMalformed, "read the export: %.300v", err)
	}
	p := Plan{ChainID: doc.ChainID, Export: vm.HashOf(export), Time: now.UTC().Truncate(time.Second), Nodes: nodes, Without: without}
	s, err := p.Read(export)
	return p, s, err
}

// ReadPlan reads a plan's file.
func ReadPlan(b []byte) (p Plan, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&p); err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = fmt.Errorf("bytes trail it")
		}
	}
	if err != nil {
		return p, vm.Refuse(vm.CodeMalformed, "read the plan: %v", err)
	}
	return p, nil
}

// Digest is what people compare: SHA-256 of the plan's compact JSON.
func (p Plan) Digest() (vm.Hash, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return vm.Hash{}, fmt.Errorf("encode the plan: %w", err)
	}
	return vm.HashOf(b), nil
}

// Read works out what the plan means. The error is a refusal.
func (p Plan) Read(export []byte) (*Succession, error) {
	if got := vm.HashOf(export); got != p.Export {
		return nil, vm.Refuse(vm.CodeSignature, "the plan is about another export").On("sha256", got.String(), p.Export.String()).
			Try("use the export that the plan was made of")
	}
	doc, err := cmttypes.GenesisDocFromJSON(export)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "read the export: %.300v", err)
	}
	s := &Succession{plan: p, doc: doc}
	if s.digest, err = p.Digest(); err != nil {
		return nil, err
	}
	if s.state, err = appState(doc); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "read the export: %.300v", err)
	}
	if p.ChainID != doc.ChainID || !p.Time.After(doc.GenesisTime) {
		return nil, vm.Refuse(vm.CodeInvalid, "the plan is of chain %q at %s, and the export of %q at %s", p.ChainID, p.Time, doc.ChainID, doc.GenesisTime)
	}
	if len(p.Nodes) == 0 || len(p.Nodes) > keys.MaxNodes {
		return nil, vm.Refuse(vm.CodeInvalid, "the plan has %d nodes, want 1 to %d", len(p.Nodes), keys.MaxNodes)
	}
	before := s.state.Committee
	if err := s.people(); err != nil {
		return nil, err
	}
	if err := s.rounds(before); err != nil {
		return nil, vm.Refuse(vm.CodeInvalid, "the chain cannot be recovered: %v", err)
	}
	return s, nil
}

// people puts the new nodes into the places of the old, and digests the genesis
// that comes of it.
func (s *Succession) people() error {
	c := &s.state.Committee
	c.Nodes, c.Groups = nil, nil
	c.Params.UnattestedNodes = true // the committee vouches for these
	for i, n := range s.plan.Nodes {
		c.Nodes = append(c.Nodes, committee.Node{
			Index: uint32(i + 1), Operator: c.Params.Authority, Status: committee.NodeActive, Api: n.API, Peer: n.Peer,
			Identity: committee.Identity{Relay: n.Relay, ConsensusKey: n.ConsensusKey, SealingKey: n.SealingKey, Height: s.doc.InitialHeight - 1, Time: s.plan.Time.Unix()},
		})
		if !slices.Contains(s.state.Accounts, n.Relay) {
			s.state.Accounts = append(s.state.Accounts, n.Relay)
		}
	}
	s.doc.GenesisTime, s.doc.AppHash, s.doc.Validators = s.plan.Time, nil, validators(c.Nodes)
	if err := setState(s.doc, s.state); err != nil {
		return vm.Refuse(vm.CodeInvalid, "the plan makes no genesis: %.300v", err)
	}
	b, err := encodeGenesis(s.doc)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(append([]byte(labelRecovery), b...))
	s.context = digest[:]
	return nil
}

// rounds combines the backups of every open epoch, and describes the round in
// which the committee deals to the new nodes.
func (s *Succession) rounds(before committee.GenesisState) error {
	sharings, err := committee.Sharings(s.doc.ChainID, before.Backed, before.Backups)
	if err != nil {
		return err
	}
	last := before.LastRound
	for _, g := range before.Groups {
		last = max(last, g.Round)
	}
	for _, g := range before.Groups {
		at := slices.IndexFunc(sharings, func(x committee.Sharing) bool { return x.Group.Epoch == g.Epoch })
		if at < 0 {
			return fmt.Errorf("nobody keeps enough backups of epoch %d", g.Epoch)
		}
		sharing := sharings[at]
		commitments, err := sharing.Group.Parse()
		if err != nil {
			return err
		}
		if sharing.Group.Key() != g.Key() {
			return fmt.Errorf("the backups of epoch %d are of another key", g.Epoch)
		}
		backups := slices.DeleteFunc(sharing.Backups, func(b recovery.Backup) bool { return slices.Contains(s.plan.Without, b.Node) })
		combined, err := recovery.Combine(commitments, backups)
		if err != nil {
			return fmt.Errorf("epoch %d: %w", g.Epoch, err)
		}
		last++
		round := dkg.Round{
			ChainID: s.doc.ChainID, Epoch: g.Epoch, Number: last, Threshold: committee.Threshold(len(s.plan.Nodes)),
			Old: combined.Commitments, Context: s.context,
		}
		for number := range sharing.Group.Recovery.Recipients {
			round.Dealers = append(round.Dealers, uint32(number+1))
		}
		for i, n := range s.plan.Nodes {
			round.Members = append(round.Members, dkg.Member{Index: uint32(i + 1), Key: n.RecoveryKey})
		}
		if err := round.Validate(); err != nil {
			return err
		}
		s.epochs = append(s.epochs, succeeded{g.Epoch, combined, round})
	}
	if len(s.epochs) == 0 {
		return fmt.Errorf("it has no key")
	}
	return nil
}

// recovery is the key that a home's share is sealed to in a recovery.
func (h Home) recovery() string { return string(h) + "/keys/recovery.json" }
