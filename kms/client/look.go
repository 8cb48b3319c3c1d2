package client

import (
	"context"
	"net/http"
	"sync"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// view is what one endpoint says of the chain.
type view struct {
	endpoint string
	status   wire.Status
}

// each runs f for every endpoint at once and waits.
func (c *Client) each(f func(i int, endpoint string)) {
	var wg sync.WaitGroup
	for i, endpoint := range c.endpoints {
		wg.Go(func() { f(i, endpoint) })
	}
	wg.Wait()
}

// look asks every endpoint for its status and keeps those of this chain and
// group. Another group key is a lie or another chain: both are named.
func (s *Session) look(ctx context.Context) error {
	c := s.client
	answers, errs := make([]wire.Status, len(c.endpoints)), make([]error, len(c.endpoints))
	c.each(func(i int, endpoint string) {
		errs[i] = wire.Call(ctx, c.HTTP, http.MethodGet, endpoint, wire.PathStatus, nil, &answers[i])
	})
	s.views = nil
	var reason error
	for i, endpoint := range c.endpoints {
		a := answers[i]
		switch {
		case errs[i] != nil:
			if reason == nil {
				reason = errs[i]
			}
		case a.ChainID != c.chainID:
			s.suspect(endpoint, "it serves another chain")
			reason = vm.Refuse(vm.CodeConfig, "node %s serves another chain", endpoint).On("chain_id", a.ChainID, c.chainID)
		case a.Commitments.Validate() != nil || !a.GroupKey.Equal(c.group) || !a.Commitments.GroupKey().Equal(c.group):
			s.suspect(endpoint, "it has another group key")
			reason = vm.Refuse(vm.CodeConfig, "node %s has another group key than the machine's config", endpoint).
				On("group_key", a.GroupKey.String(), c.group.String())
		default:
			s.views = append(s.views, view{endpoint, a})
		}
	}
	if len(s.views) == 0 {
		return reason
	}
	return nil
}

// newest is the highest block that any view names. A made-up block only makes
// the release stale; who named it is not listened to in the next try.
func (s *Session) newest() view {
	best := s.views[0]
	for _, v := range s.views[1:] {
		if s.misled[best.endpoint] && !s.misled[v.endpoint] ||
			s.misled[best.endpoint] == s.misled[v.endpoint] && v.status.Height > best.status.Height {
			best = v
		}
	}
	return best
}

// order lists the endpoints whose status is right, then the others, which may
// have recovered.
func (s *Session) order() (out []string) {
	for _, v := range s.views {
		out = append(out, v.endpoint)
	}
	return out
}

// commitments lists the different ways in which views share the group key.
func (s *Session) commitments() (out []keys.Commitments) {
	seen := make(map[string]bool)
	for _, v := range s.views {
		var id string
		for _, k := range v.status.Commitments {
			id += k.String()
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, v.status.Commitments)
		}
	}
	return out
}
