package client

import (
	"crypto/rand"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// answer is what one node gave: its partials, one for each key and not verified,
// and what it made them under.
type answer struct {
	endpoint    string
	node        uint32
	ledger      wire.Ledger
	commitments keys.Commitments
	partials    []keys.Partial
}

// under names what answers must have in common to be combined: points of
// different sharings make no key, and what the ledger says must be one story.
func (a answer) under() string {
	return fmt.Sprintf("%x %d %d %s %s", a.commitments.Bytes(), a.ledger.Time, a.ledger.Generation, a.ledger.Env, a.ledger.Registry)
}

// pool collects answers until those of one kind make the keys. While the group's
// secret is shared anew, nodes may answer from the old sharing or the new one:
// each kind is kept by itself.
type pool struct {
	group keys.PublicKey // that the machine's config names
	ids   []keys.ID
	kinds map[string]*kind
	blame func(endpoint, reason string)
}

// kind is the answers of one sharing and ledger, the first of each node's first.
type kind struct {
	ledger   wire.Ledger
	verifier *keys.Verifier
	answers  []answer
}

func newPool(group keys.PublicKey, ids []keys.ID, blame func(endpoint, reason string)) *pool {
	return &pool{group: group, ids: ids, kinds: make(map[string]*kind), blame: blame}
}

// add takes an answer in. It reports the keys as soon as the answers of its kind
// make them, with what these nodes read in their ledgers.
func (p *pool) add(a answer) (sigmas []keys.Signature, ledger wire.Ledger, sharing keys.Commitments) {
	if a.commitments.Validate() != nil || !a.commitments.GroupKey().Equal(p.group) {
		p.blame(a.endpoint, "its sharing is of another group key")
		return nil, ledger, nil
	}
	name := a.under()
	k := p.kinds[name]
	if k == nil {
		verifier, err := keys.NewVerifier(a.commitments)
		if err != nil {
			p.blame(a.endpoint, err.Error())
			return nil, ledger, nil
		}
		k = &kind{ledger: a.ledger, verifier: verifier}
		p.kinds[name] = k
	}
	k.answers = append(k.answers, a)
	return p.combine(k), k.ledger, a.commitments
}

// combine makes the keys if the answers of k suffice. Wrong answers cost their
// nodes a mention, and make room for others that claim to be the same node's.
func (p *pool) combine(k *kind) []keys.Signature {
	threshold := k.verifier.Sharing().Threshold()
	for {
		chosen := k.chosen()
		if len(chosen) < threshold {
			return nil
		}
		rows := make([][]keys.Partial, len(chosen))
		for i, a := range chosen {
			rows[i] = a.partials
		}
		sigmas, bad, err := k.verifier.CombineAll(rand.Reader, p.ids, rows)
		wrong := make(map[uint32]bool, len(bad))
		for _, node := range bad {
			wrong[node] = true
		}
		if err != nil && len(bad) == 0 { // right partials of a sharing that somebody made up
			for _, a := range chosen {
				wrong[a.node] = true
			}
		}
		k.drop(chosen, wrong, p.blame)
		if err == nil {
			return sigmas
		}
		if len(wrong) == 0 {
			return nil
		}
	}
}

// chosen is the first answer of each node.
func (k *kind) chosen() (out []answer) {
	seen := make(map[uint32]bool, len(k.answers))
	for _, a := range k.answers {
		if !seen[a.node] {
			seen[a.node] = true
			out = append(out, a)
		}
	}
	return out
}

// drop takes the chosen answers of wrong nodes out, and blames their endpoints.
func (k *kind) drop(chosen []answer, wrong map[uint32]bool, blame func(endpoint, reason string)) {
	for _, c := range chosen {
		if !wrong[c.node] {
			continue
		}
		blame(c.endpoint, fmt.Sprintf("its partial keys, as node %d, are wrong", c.node))
		for i := range k.answers {
			if k.answers[i].endpoint == c.endpoint && k.answers[i].node == c.node {
				k.answers = append(k.answers[:i], k.answers[i+1:]...)
				break
			}
		}
	}
}

// best is how many nodes' answers the largest kind holds, and how many kinds
// there are.
func (p *pool) best() (answers, kinds int) {
	for _, k := range p.kinds {
		answers = max(answers, len(k.chosen()))
		if len(k.answers) > 0 {
			kinds++
		}
	}
	return answers, kinds
}

// wipe overwrites all partials.
func (p *pool) wipe() {
	for _, k := range p.kinds {
		for _, a := range k.answers {
			for i := range a.partials {
				a.partials[i].Wipe()
			}
		}
	}
}

// open opens the envelope of a node's answer.
func (s *Session) open(endpoint string, a wire.Partials, ids []keys.ID) (answer, error) {
	out := answer{endpoint: endpoint, node: a.Node, ledger: a.Ledger, commitments: a.Commitments}
	if a.Grant != s.granted {
		return out, vm.Refuse(vm.CodeSignature, "answers for another grant")
	}
	points, err := s.recipient.Open(a.Ledger.PartialInfo(s.granted, a.Node, ids), a.Sealed)
	if err != nil {
		return out, vm.Refuse(vm.CodeSignature, "its envelope is not for this grant of %d, generation %d, node %d and these keys", a.Ledger.Time, a.Ledger.Generation, a.Node)
	}
	defer clear(points)
	if len(points) != len(ids)*keys.PointSize {
		return out, vm.Refuse(vm.CodeSignature, "its envelope holds %d bytes, want %d", len(points), len(ids)*keys.PointSize)
	}
	out.partials = make([]keys.Partial, len(ids))
	for i := range ids {
		out.partials[i], err = keys.ParsePartial(a.Node, points[i*keys.PointSize:(i+1)*keys.PointSize])
		if err != nil {
			return out, vm.Refuse(vm.CodeSignature, "%v", err)
		}
	}
	return out, nil
}
