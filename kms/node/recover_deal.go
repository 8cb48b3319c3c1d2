package node

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/keys/recovery"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// Deals is a member's part in a recovery: public, and of no use but to the nodes
// of the plan and for the genesis that follows from it.
type Deals struct {
	ChainID string  `json:"chain_id"`
	Plan    vm.Hash `json:"plan"` // Plan.Digest
	Deals   []Dealt `json:"deals"`
}

// Dealt is a member's deal of one epoch's key.
type Dealt struct {
	Epoch  uint64 `json:"epoch"`
	Member uint32 `json:"member"` // its number in the recovery committee
	Deal   []byte `json:"deal"`   // dkg.Deal.Encode
}

// Deal deals what the identities' owner keeps to the nodes of the plan.
func (s *Succession) Deal(identities ...age.Identity) (Deals, error) {
	out := Deals{ChainID: s.doc.ChainID, Plan: s.digest}
	for _, e := range s.epochs {
		shares, err := e.combined.Take(identities...)
		if errors.Is(err, recovery.ErrNotYours) {
			return out, vm.Refuse(vm.CodePermission, "epoch %d: no piece is sealed to this identity", e.epoch).Try("use the identity whose recipient is in kmsd query committee recovery")
		}
		if err != nil {
			return out, vm.Refuse(vm.CodeInvalid, "epoch %d: %v", e.epoch, err).Try("plan the recovery --without the node that backed up wrongly")
		}
		for i := range shares {
			member := shares[i].Index
			deal, err := recovery.Deal(rand.Reader, e.round, &shares[i])
			if err != nil {
				return out, fmt.Errorf("deal as member %d: %w", member, err)
			}
			out.Deals = append(out.Deals, Dealt{e.epoch, member, deal.Encode()})
		}
	}
	return out, nil
}

// ReadDeals reads a file of a member's deals.
func ReadDeals(b []byte) (d Deals, err error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&d); err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("bytes trail it")
		}
	}
	if err != nil {
		return d, vm.Refuse(vm.CodeMalformed, "read a member's deals: %v", err)
	}
	return d, nil
}

// Recovered is what Install made.
type Recovered struct {
	Home      Home      `json:"home"`
	ChainID   string    `json:"chain_id"`
	Height    int64     `json:"height"` // of its first block
	GroupKeys []string  `json:"group_keys"`
	Threshold int       `json:"threshold"`
	Nodes     int       `json:"nodes"`
	Members   [][]int   `json:"members"` // of the committee, whose deals made the shares, by epoch
	Genesis   vm.Hash   `json:"genesis_sha256"`
	Time      time.Time `json:"time"`
}

// Install takes a successor's shares out of the members' deals, and makes its
// home one of the chain that goes on. Every node is given the same files.
func (s *Succession) Install(home Home, given []Deals) (Recovered, error) {
	out := Recovered{Home: home, ChainID: s.doc.ChainID, Height: s.doc.InitialHeight, Nodes: len(s.plan.Nodes), Time: s.plan.Time}
	if home.Exists() {
		return out, vm.Refuse(vm.CodeExists, "%s holds a chain already", home)
	}
	key, err := readSealing(home.recovery())
	if err != nil {
		return out, vm.Refuse(vm.CodeInvalid, "%s is no home that kmsd recover prepare made: %v", home, err)
	}
	me := slices.IndexFunc(s.plan.Nodes, func(n Successor) bool { return bytes.Equal(n.RecoveryKey, key.Public()) })
	if me < 0 {
		return out, vm.Refuse(vm.CodeInvalid, "%s is not a node of this plan", home)
	}
	state := s.state
	for _, e := range s.epochs {
		deals, err := e.dealsOf(s.digest, given)
		if err != nil {
			return out, err
		}
		outcome, err := e.round.Finalise(deals, nil, nil)
		if err != nil {
			return out, vm.Refuse(vm.CodeInvalid, "epoch %d: deals of %d members are there, and %d are needed", e.epoch, len(outcome.Qualified), e.round.Needed()).
				Try("ask other members of the recovery committee for theirs")
		}
		share, err := e.round.Share(outcome, uint32(me+1), key, deals, nil)
		if err != nil {
			return out, vm.Refuse(vm.CodeInvalid, "epoch %d: a member dealt wrongly to this node, or the genesis differs: %v", e.epoch, err).
				Try("install on all nodes without the deals of the member that is named")
		}
		var holders []committee.Holder
		for _, n := range s.state.Committee.Nodes {
			holders = append(holders, n.Identity.Holder(n.Index))
		}
		group, err := committee.NewGroup(e.epoch, e.round.Number, outcome.Commitments, holders)
		if err != nil {
			return out, err
		}
		// Nobody keeps backups of these shares: the nodes make others at once.
		group.Height, group.Time = s.doc.InitialHeight-1, s.plan.Time.Unix()
		if err := home.writeShare(share, group); err != nil {
			return out, err
		}
		share.Wipe()
		state.Committee.Groups, state.Committee.LastRound = append(state.Committee.Groups, group), e.round.Number
		members := make([]int, len(outcome.Used))
		for i, m := range outcome.Used {
			members[i] = int(m)
		}
		out.GroupKeys, out.Threshold, out.Members = append(out.GroupKeys, group.Key()), group.Threshold(), append(out.Members, members)
	}
	doc := *s.doc
	if err := setState(&doc, state); err != nil {
		return out, err
	}
	b, err := encodeGenesis(&doc)
	if err != nil {
		return out, err
	}
	out.Genesis = vm.HashOf(b)
	return out, errors.Join(signer.WriteFile(home.genesis(), b), wipeFile(home.recovery()))
}

// dealsOf collects one epoch's deals, each checked.
func (e succeeded) dealsOf(plan vm.Hash, given []Deals) ([]dkg.Deal, error) {
	var out []dkg.Deal
	for _, g := range given {
		if g.Plan != plan {
			return nil, vm.Refuse(vm.CodeInvalid, "a member dealt for another plan").On("plan", g.Plan.String(), plan.String())
		}
		for _, d := range g.Deals {
			if d.Epoch != e.epoch {
				continue
			}
			deal, err := e.round.Read(d.Deal)
			if err != nil || deal.Dealer != d.Member {
				return nil, vm.Refuse(vm.CodeInvalid, "the deal of member %d is wrong: %v", d.Member, err).Try("install on all nodes without it")
			}
			if !slices.ContainsFunc(out, func(o dkg.Deal) bool { return o.Dealer == deal.Dealer }) {
				out = append(out, deal)
			}
		}
	}
	return out, nil
}

// Summary says what a plan means, for people to read before they agree.
type Summary struct {
	ChainID  string    `json:"chain_id"`
	Plan     vm.Hash   `json:"plan"`
	Export   vm.Hash   `json:"export"`
	Height   int64     `json:"height"` // of the first block of the chain that goes on
	Time     time.Time `json:"time"`
	Services int       `json:"services"`
	Nodes    []string  `json:"nodes"` // where they are
	Keys     []KeyPlan `json:"keys"`
}

// KeyPlan is how one epoch's key is handed on.
type KeyPlan struct {
	Epoch    uint64   `json:"epoch"`
	GroupKey string   `json:"group_key"`
	Backups  []uint32 `json:"backups"` // of these nodes of before
	Needed   int      `json:"needed"`  // members of …
	Of       int      `json:"of"`      // … the recovery committee
}

// Summary says what the plan means.
func (s *Succession) Summary() Summary {
	out := Summary{ChainID: s.doc.ChainID, Plan: s.digest, Export: s.plan.Export, Height: s.doc.InitialHeight, Time: s.plan.Time, Services: len(s.state.KMS.Services)}
	for _, n := range s.plan.Nodes {
		out.Nodes = append(out.Nodes, n.API)
	}
	for _, e := range s.epochs {
		out.Keys = append(out.Keys, KeyPlan{e.epoch, e.round.Old.GroupKey().String(), e.combined.Nodes, e.round.Needed(), len(e.round.Dealers)})
	}
	return out
}
