package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// answer is what one endpoint gave: its node's partials, one for each key, not
// verified yet, or why there are none.
type answer struct {
	endpoint string
	partials []keys.Partial
	err      error
}

// collect fetches partial keys everywhere and makes the keys from the first
// threshold that verify.
func (s *Session) collect(ctx context.Context, ids []keys.ID) error {
	answers := make([]answer, len(s.client.endpoints))
	s.client.each(func(i int, endpoint string) {
		answers[i] = answer{endpoint: endpoint}
		answers[i].partials, answers[i].err = s.fetch(ctx, endpoint, ids)
	})
	var failed error
	for _, c := range s.commitments() {
		suspects, err := s.combine(c, ids, answers)
		if err == nil {
			s.suspects = append(s.suspects, suspects...)
			return nil
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// fetch asks one node and opens its envelope.
func (s *Session) fetch(ctx context.Context, endpoint string, ids []keys.ID) ([]keys.Partial, error) {
	var a wire.Partials
	err := wire.Call(ctx, s.client.HTTP, http.MethodPost, endpoint, wire.PathPartials, wire.PartialsRequest{Grant: s.grant.ID, Keys: ids}, &a)
	if err != nil {
		return nil, err
	}
	if a.Grant != s.grant.ID {
		return nil, vm.Refuse(vm.CodeSignature, "answers for another grant")
	}
	points, err := s.recipient.Open(keys.PartialInfo(s.grant.ID[:], s.grant.Generation, a.Node, ids), a.Sealed)
	if err != nil {
		return nil, vm.Refuse(vm.CodeSignature, "its envelope is not for this grant, generation %d, node %d and these keys", s.grant.Generation, a.Node)
	}
	defer clear(points)
	if len(points) != len(ids)*keys.PointSize {
		return nil, vm.Refuse(vm.CodeSignature, "its envelope holds %d bytes, want %d", len(points), len(ids)*keys.PointSize)
	}
	out := make([]keys.Partial, len(ids))
	for i := range ids {
		out[i], err = keys.ParsePartial(a.Node, points[i*keys.PointSize:(i+1)*keys.PointSize])
		if err != nil {
			return nil, vm.Refuse(vm.CodeSignature, "%v", err)
		}
	}
	return out, nil
}

// combine makes every key from nodes whose partials verify under c, and lists
// the others. Even commitments that a liar made up can only make it fail.
func (s *Session) combine(c keys.Commitments, ids []keys.ID, answers []answer) (suspects []string, err error) {
	nodes := make(map[uint32]bool)
	right := make([][]keys.Partial, len(ids))
	unavailable := 0
	for _, a := range answers {
		err := a.err
		if err == nil {
			err = verify(c, ids, a.partials)
		}
		switch {
		case vm.CodeOf(err) == vm.CodeUnavailable:
			unavailable++
			suspects = append(suspects, fmt.Sprintf("node %s: %v", a.endpoint, err))
		case err != nil:
			suspects = append(suspects, fmt.Sprintf("node %s: %v", a.endpoint, err))
		case !nodes[a.partials[0].Index]:
			nodes[a.partials[0].Index] = true
			for i, p := range a.partials {
				right[i] = append(right[i], p)
			}
		}
	}
	if len(nodes) < c.Threshold() {
		code := vm.CodeSignature
		if unavailable == len(suspects) {
			code = vm.CodeUnavailable
		}
		return suspects, vm.Refuse(code, "%d of %d nodes gave right partial keys, want %d; %s",
			len(nodes), len(answers), c.Threshold(), strings.Join(suspects, "; "))
	}
	made := make(map[keys.ID]keys.Secret, len(ids))
	for i, id := range ids {
		sigma, err := keys.Combine(c.Threshold(), right[i])
		if err != nil {
			return suspects, vm.Refuse(vm.CodeSignature, "%v", err)
		}
		if err := keys.VerifyKey(s.client.group, id, sigma); err != nil {
			return suspects, vm.Refuse(vm.CodeSignature, "the nodes' answers make no key of the measured group key: %v", err)
		}
		if made[id], err = keys.Derive(s.client.group, id, sigma); err != nil {
			return suspects, err
		}
	}
	s.secrets, s.sharing = made, c
	return suspects, nil
}

// verify checks one node's partials under the key that c gives it.
func verify(c keys.Commitments, ids []keys.ID, partials []keys.Partial) error {
	public, err := c.Public(partials[0].Index)
	if err != nil {
		return vm.Refuse(vm.CodeSignature, "%v", err)
	}
	for i, id := range ids {
		if err := partials[i].Verify(public, id); err != nil {
			return vm.Refuse(vm.CodeSignature, "%v", err)
		}
	}
	return nil
}
