package client

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Time-outs of one question.
const (
	lookTimeout    = 5 * time.Second
	decideTimeout  = 30 * time.Second // a block and every validator's verification
	partialTimeout = 10 * time.Second
	lookGrace      = 150 * time.Millisecond // for the rest, once enough statuses are there
)

// view is what one endpoint says of the chain.
type view struct {
	endpoint string
	status   wire.Status
}

// look asks every endpoint for its status and keeps those of this chain and
// group, in the order in which they answered. Another group key is a lie or
// another chain: both are named. Once as many have answered as make a key, the
// others have a moment left.
func (s *Session) look(ctx context.Context) error {
	c := s.client
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s.views, s.pace = nil, lookTimeout
	begin := time.Now()
	var reasons []error
	race(ctx, c.endpoints, len(c.endpoints), hedge,
		func(ctx context.Context, endpoint string) (a wire.Status, err error) {
			var text statusText
			if err = wire.Call(ctx, c.HTTP, http.MethodGet, endpoint, wire.PathStatusOf(c.epoch), nil, &text); err != nil {
				return a, err
			}
			return s.points.status(text)
		},
		func(h heard[wire.Status]) bool {
			err := h.err
			if err == nil {
				err = s.checkStatus(h.endpoint, h.value)
			}
			if err != nil {
				reasons = append(reasons, err)
				return false
			}
			s.views = append(s.views, view{h.endpoint, h.value})
			if len(s.views) == s.needed() {
				s.pace = time.Since(begin)
				time.AfterFunc(lookGrace, cancel)
			}
			return false
		})
	err := errors.Join(reasons...)
	switch {
	case len(reasons) == len(c.endpoints) && !slices.ContainsFunc(reasons, func(err error) bool { return vm.CodeOf(err) != vm.CodeConfig }):
		return err // all of them are nodes of somebody else: waiting will not change that
	case len(s.views) > 0 && len(s.views) >= s.needed():
		return nil
	case err == nil:
		err = vm.Refuse(vm.CodeUnavailable, "no node answers")
	}
	return s.outage(len(s.views), "", err)
}

// checkStatus reports what is wrong with what an endpoint says of its chain.
func (s *Session) checkStatus(endpoint string, a wire.Status) error {
	c := s.client
	switch {
	case a.ChainID != c.chainID:
		s.suspect(endpoint, "it serves another chain")
		return vm.Refuse(vm.CodeConfig, "node %s serves another chain", endpoint).On("chain_id", a.ChainID, c.chainID)
	case a.Commitments.Validate() != nil || !a.GroupKey.Equal(c.group) || !a.Commitments.GroupKey().Equal(c.group):
		s.suspect(endpoint, "it has another group key")
		return vm.Refuse(vm.CodeConfig, "node %s has another group key than the machine's config", endpoint).
			On("group_key", a.GroupKey.String(), c.group.String())
	}
	return nil
}

// patience is how long a node may take to decide before another is asked too:
// longer while nodes say that decisions take long.
func (s *Session) patience() time.Duration { return max(hedge, 3*s.decides()) }

// decides is how long nodes say that decisions take. The least that any says
// counts, so that a liar costs no time, and a third of maxHedge at most.
func (s *Session) decides() time.Duration {
	least := uint64(maxHedge / time.Millisecond / 3)
	if len(s.views) == 0 {
		return 0
	}
	for _, v := range s.views {
		least = min(least, v.status.DecideMillis)
	}
	return time.Duration(least) * time.Millisecond
}

// nearest lists the endpoints in the order in which they are likely to give
// their parts: who has the grant, who answered first, the others.
func (s *Session) nearest() []string {
	out := make([]string, 0, len(s.views)+len(s.client.endpoints)+1)
	if s.grantedBy != "" {
		out = append(out, s.grantedBy)
	}
	for _, v := range s.views {
		out = append(out, v.endpoint)
	}
	seen := make(map[string]bool, cap(out))
	return slices.DeleteFunc(append(out, s.client.endpoints...), func(endpoint string) bool {
		again := seen[endpoint]
		seen[endpoint] = true
		return again
	})
}

// needed is how many nodes make a key by the views: the least that any says,
// since a liar may say many. 0: nobody says.
func (s *Session) needed() int {
	least := 0
	for _, v := range s.views {
		if t := v.status.Commitments.Threshold(); least == 0 || t < least {
			least = t
		}
	}
	return least
}

// agreeing is how many nodes must say the same for one of them to be honest, as
// long as enough of them are for keys to be made at all.
func (s *Session) agreeing() int {
	nodes := len(s.client.endpoints)
	for _, v := range s.views {
		nodes = max(nodes, len(v.status.Nodes))
	}
	return max(1, min(nodes-s.needed()+1, len(s.client.endpoints)))
}

func (s *Session) outage(answering int, but string, err error) *Outage {
	return &Outage{Answering: answering, Nodes: len(s.client.endpoints), Needed: s.needed(), But: but, Err: err}
}

// anchor picks the block that a release names: the highest that enough nodes
// have reached for one of them to be honest, of those who have not named a
// wrong one before. A liar can at worst make the release stale.
func (s *Session) anchor() view {
	sorted := slices.Clone(s.views)
	slices.SortStableFunc(sorted, func(a, b view) int {
		if s.misled[a.endpoint] != s.misled[b.endpoint] {
			if s.misled[a.endpoint] {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.status.Height, a.status.Height)
	})
	honest := slices.IndexFunc(sorted, func(v view) bool { return s.misled[v.endpoint] })
	if honest <= 0 {
		honest = len(sorted)
	}
	return sorted[min(s.agreeing(), honest)-1]
}

// order lists the endpoints that may pass on a release that names the block of
// chosen: who has reached it, in the order of their answers, then the others.
func (s *Session) order(chosen view) (out []string) {
	var behind []string
	for _, v := range s.views {
		if v.status.Height >= chosen.status.Height && !s.misled[v.endpoint] {
			out = append(out, v.endpoint)
		} else {
			behind = append(behind, v.endpoint)
		}
	}
	return append(out, behind...)
}
