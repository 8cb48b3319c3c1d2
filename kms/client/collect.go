package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// How long nodes are asked for their parts under one grant before the machine
// says that it waits, and the pauses between questions to one node: it may not
// have the block with the grant yet, or be about to share anew.
const (
	collectPatience = 3 * time.Second
	minAgain        = 50 * time.Millisecond
	maxAgain        = time.Second
)

// Bounds of spare.
const (
	minSpare = 80 * time.Millisecond
	maxSpare = time.Second
)

// spare is how long the first nodes may take over their parts before the others
// are asked too: some of the time in which enough of them answered when they had
// nothing to do, or in which they decide.
func (s *Session) spare() time.Duration {
	return min(max(minSpare, 4*s.pace, s.decides()), maxSpare)
}

// collect makes the keys that were granted: those of the machine's epoch, and
// those of earlier epochs that what its owner sealed needs.
func (s *Session) collect(ctx context.Context) error {
	for {
		epoch, ids := s.missing()
		if len(ids) == 0 {
			return nil
		}
		if err := s.gather(ctx, epoch, ids); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
}

// missing lists keys of one epoch that are wanted and not there. Keys that open
// what the owner sealed are wanted only where something is sealed.
func (s *Session) missing() (epoch uint64, ids []keys.ID) {
	for _, id := range s.asked.Keys {
		if _, there := s.sigmas[id]; there || s.unneeded(id) {
			continue
		}
		if len(ids) == 0 {
			epoch = id.Epoch
		}
		if id.Epoch == epoch {
			ids = append(ids, id)
		}
	}
	return epoch, ids
}

// unneeded reports whether id would open something that is not there.
func (s *Session) unneeded(id keys.ID) bool {
	if id.Scope != keys.ScopeService {
		return false
	}
	switch id.Name {
	case nameEnv:
		return s.grant.Env == nil || s.grant.Env.Epoch != id.Epoch
	case nameRegistry:
		return s.grant.Registry == nil || s.grant.Registry.Epoch != id.Epoch
	}
	return false
}

// gather asks nodes again and again, until t of them have given parts that make
// the keys: at first as many as that takes, and all of them as soon as one of
// those has not, whatever the reason.
func (s *Session) gather(ctx context.Context, epoch uint64, ids []keys.ID) error {
	group, err := s.client.groupOf(epoch)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, collectPatience)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	answers := make(chan heard[answer])
	wide := make(chan struct{})
	widen := sync.OnceFunc(func() { close(wide) })
	first := s.needed()
	for i, endpoint := range s.nearest() {
		wg.Go(func() {
			if first > 0 && i >= first {
				select {
				case <-wide:
				case <-limited.Done():
					return
				}
			}
			s.keepAsking(limited, endpoint, ids, answers)
		})
	}
	late := time.AfterFunc(s.spare(), widen)
	defer late.Stop()

	blamed, troubles, answering := make(map[string]bool), make(map[string]error), make(map[string]bool)
	p := newPool(group, ids, func(endpoint, reason string) {
		blamed[endpoint] = true
		s.suspect(endpoint, reason)
		troubles[endpoint] = vm.Refuse(vm.CodeSignature, "node %s: %s", endpoint, reason)
	})
	defer p.wipe()
	for {
		select {
		case h := <-answers:
			if h.err != nil {
				widen()
			}
			switch {
			case blamed[h.endpoint]:
			case errors.Is(h.err, errLied):
				p.blame(h.endpoint, h.err.Error())
			case vm.CodeOf(h.err) == vm.CodeExpired && h.err != nil:
				troubles[h.endpoint] = h.err
				if count(troubles, vm.CodeExpired) >= s.agreeing() {
					s.granted = vm.Hash{} // ask for a new one
					return &Outage{Answering: len(answering), Nodes: len(s.client.endpoints), Needed: s.needed(), But: "the grant has expired", Err: h.err, retake: true}
				}
			case h.err != nil:
				troubles[h.endpoint] = fmt.Errorf("node %s: %w", h.endpoint, h.err)
			default:
				answering[h.endpoint] = true
				delete(troubles, h.endpoint)
				sigmas, ledger, sharing := p.add(h.value)
				if sigmas == nil {
					if len(answering) >= first {
						widen()
					}
					continue
				}
				for i, id := range ids {
					s.sigmas[id] = sigmas[i]
				}
				s.ledger, s.sharing = ledger, sharing
				return nil
			}
		case <-limited.Done():
			return s.incomplete(p, len(answering)-len(blamed), troubles)
		}
	}
}

func count(troubles map[string]error, code vm.Code) (n int) {
	for _, err := range troubles {
		if vm.CodeOf(err) == code {
			n++
		}
	}
	return n
}

// incomplete is the Outage of too few parts.
func (s *Session) incomplete(p *pool, answering int, troubles map[string]error) error {
	var all []error
	for _, endpoint := range slices.Sorted(maps.Keys(troubles)) {
		all = append(all, troubles[endpoint])
	}
	best, kinds := p.best()
	o := s.outage(best, "", errors.Join(all...))
	switch {
	case kinds > 1:
		o.Answering, o.But = answering, "they do not agree: the group's secret is being shared anew, or some are behind"
	case count(troubles, vm.CodeSignature) > 0:
		o.But = "some of them answer wrongly"
	}
	if o.Err == nil {
		o.Err = vm.Refuse(vm.CodeUnavailable, "%d nodes gave their parts of the keys", best)
	}
	return o
}

// errLied marks an answer that no honest node gives.
var errLied = errors.New("wrong answer")

// keepAsking asks one node for its parts until ctx ends. An answer of it is
// passed on whenever it differs from the last, as after a resharing.
func (s *Session) keepAsking(ctx context.Context, endpoint string, ids []keys.ID, answers chan<- heard[answer]) {
	said := ""
	for pause := minAgain; ; pause = min(2*pause, maxAgain) {
		a, err := s.fetch(ctx, endpoint, ids)
		if ctx.Err() != nil {
			return
		}
		if name := a.under(); err != nil || name != said {
			if err == nil {
				said, pause = name, maxAgain/2 // only a resharing changes it
			}
			select {
			case answers <- heard[answer]{endpoint, a, err}:
			case <-ctx.Done():
				return
			}
		}
		if errors.Is(err, errLied) {
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// fetch asks one node for its parts.
func (s *Session) fetch(ctx context.Context, endpoint string, ids []keys.ID) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, partialTimeout)
	defer cancel()
	var a partialsText
	err := wire.Call(ctx, s.client.HTTP, http.MethodPost, endpoint, wire.PathPartials, wire.PartialsRequest{Grant: s.granted, Keys: ids}, &a)
	if err == nil {
		a.Partials.Commitments, err = s.points.read(a.Commitments...)
	}
	if err != nil {
		if errors.Is(err, wire.ErrGarbage) {
			err = fmt.Errorf("%w: %w", errLied, err)
		}
		return answer{}, err
	}
	out, err := s.open(endpoint, a.Partials, ids)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errLied, err)
	}
	if len(out.commitments) == 0 {
		out.commitments = s.shared(endpoint)
	}
	return out, nil
}

// shared is how an endpoint's status, or else any, says that the secret is shared.
func (s *Session) shared(endpoint string) (c keys.Commitments) {
	for _, v := range s.views {
		if v.endpoint == endpoint || c == nil {
			c = v.status.Commitments
		}
	}
	return c
}

// settle makes the grant say what the nodes vouched for. The grant itself came
// from one node, which may have left out or altered what stands beside its id.
func (s *Session) settle(ctx context.Context) error {
	s.grant.Generation, s.grant.Time = s.ledger.Generation, time.Unix(s.ledger.Time, 0).UTC()
	if s.grant.Ledger() == s.ledger {
		return nil
	}
	found := false
	race(ctx, s.client.endpoints, len(s.client.endpoints), hedge,
		func(ctx context.Context, endpoint string) (g wire.Grant, err error) {
			ctx, cancel := context.WithTimeout(ctx, lookTimeout)
			defer cancel()
			err = wire.Call(ctx, s.client.HTTP, http.MethodGet, endpoint, wire.PathGrants+"/"+s.granted.String(), nil, &g)
			return g, err
		},
		func(h heard[wire.Grant]) bool {
			if h.err == nil && checkGrant(h.endpoint, h.value, s.asked, s.granted) == nil && h.value.Ledger() == s.ledger {
				s.grant, found = h.value, true
			}
			return found
		})
	if !found {
		clear(s.sigmas)
		return &Outage{
			Answering: len(s.views), Nodes: len(s.client.endpoints), Needed: s.needed(), But: "none of them has what the owner sealed",
			Err: vm.Refuse(vm.CodeUnavailable, "no node has the grant that the nodes vouch for"),
		}
	}
	return nil
}
