package client

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Advance tells the chain that the disk now carries generation, which must be
// one more than the chain knows; saying it again is no error. Enough nodes must
// confirm that one of them is honest: a node that only pretends to pass it on
// would make the next boot refuse its own disk. An Outage says that too few did.
func (s *Session) Advance(ctx context.Context, generation uint64) error {
	return s.client.advance(ctx, s.voice(), generation)
}

// voice is how a machine speaks to the chain when it has its keys: under the
// grant, with the session key.
type voice struct {
	Grant    vm.Hash `json:"grant"`
	Seed     []byte  `json:"seed"`     // of the session key
	Confirm  int     `json:"confirm"`  // so many nodes
	Agreeing int     `json:"agreeing"` // so many refusals are the chain's
}

func (s *Session) voice() voice {
	return voice{
		Grant: s.granted, Seed: s.session.Seed(), Agreeing: min(len(s.client.endpoints), s.agreeing()),
		Confirm: min(len(s.client.endpoints), max(1, s.sharing.Threshold())),
	}
}

// Voice returns what Client.Advance needs in place of the session, and no key of
// the machine. Who has it can speak for the machine's disk: it is secret.
func (s *Session) Voice() ([]byte, error) {
	v := s.voice()
	defer clear(v.Seed)
	return json.Marshal(v)
}

// Advance is Session.Advance by a session's Voice, of a client of the same key
// manager. It asks again until there is a decision as Release does, if wait.
func (c *Client) Advance(ctx context.Context, exported []byte, generation uint64, wait bool) error {
	var v voice
	if err := json.Unmarshal(exported, &v); err != nil || len(v.Seed) != ed25519.SeedSize {
		return vm.Refuse(vm.CodeInternal, "what was kept of the session is no voice towards the chain")
	}
	defer clear(v.Seed)
	advance := func(ctx context.Context) error { return c.advance(ctx, v, generation) }
	if wait {
		return Persist(ctx, c.Waiting, advance)
	}
	return advance(ctx)
}

func (c *Client) advance(ctx context.Context, v voice, generation uint64) error {
	message := keys.AdvanceMessage(c.chainID, v.Grant, generation)
	say := wire.Advance{Grant: v.Grant, Generation: generation, Signature: ed25519.Sign(ed25519.NewKeyFromSeed(v.Seed), message)}
	want := min(len(c.endpoints), v.Confirm)
	confirmed, refused := 0, 0
	var first error
	race(ctx, c.endpoints, want, hedge,
		func(ctx context.Context, endpoint string) (heard wire.Advanced, err error) {
			ctx, cancel := context.WithTimeout(ctx, decideTimeout)
			defer cancel()
			err = wire.Call(ctx, c.HTTP, http.MethodPost, endpoint, wire.PathAdvance, say, &heard)
			if err == nil && heard.Generation != generation {
				err = vm.Refuse(vm.CodeInvalid, "node %s confirms generation %d, want %d", endpoint, heard.Generation, generation)
			}
			return heard, err
		},
		func(h heard[wire.Advanced]) bool {
			switch {
			case h.err == nil:
				confirmed++
			case decided(h.err):
				refused++
				first = h.err
			case first == nil:
				first = h.err
			}
			return confirmed == want
		})
	switch {
	case confirmed == want:
		return nil
	case first == nil:
		first = vm.Refuse(vm.CodeUnavailable, "no node answers")
	}
	if refused >= v.Agreeing {
		return fmt.Errorf("advance the disk to generation %d: %w", generation, first)
	}
	return fmt.Errorf("advance the disk to generation %d: %w", generation,
		&Outage{Answering: confirmed, Nodes: len(c.endpoints), Needed: want, Err: first})
}
