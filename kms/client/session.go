package client

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"slices"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Session is a granted release: the keys, and the machine's voice towards the
// chain for as long as it runs.
type Session struct {
	client    *Client
	recipient *keys.Recipient
	session   ed25519.PrivateKey
	views     []view           // right ones of the newest look
	misled    map[string]bool  // endpoints that named blocks which were not recent
	sharing   keys.Commitments // under which the keys were made
	grant     wire.Grant
	secrets   map[keys.ID]keys.Secret
	suspects  []string
}

func (s *Session) publicKey() ed25519.PublicKey { return s.session.Public().(ed25519.PublicKey) }

// Grant returns the chain's decision. Its generation is what at least one honest
// node reads in its ledger, as long as fewer than the threshold are dishonest.
func (s *Session) Grant() wire.Grant { return s.grant }

// Key returns a key that the release asked for.
func (s *Session) Key(id keys.ID) (keys.Secret, error) {
	k, ok := s.secrets[id]
	if !ok {
		return k, vm.Refuse(vm.CodePermission, "the release did not ask for key %s", id)
	}
	return k, nil
}

// Suspects names the nodes that answered wrongly or not at all, with the reason,
// for the log. The keys are right nevertheless.
func (s *Session) Suspects() []string { return slices.Clone(s.suspects) }

func (s *Session) suspect(endpoint, reason string) {
	s.suspects = append(s.suspects, fmt.Sprintf("node %s: %s", endpoint, reason))
}

// Advance tells the chain that the disk now carries generation, which must be
// one more than the chain knows; saying it again is no error. Enough nodes must
// confirm that one of them is honest: a node that only pretends to pass it on
// would make the next boot refuse its own disk.
func (s *Session) Advance(ctx context.Context, generation uint64) error {
	c := s.client
	message := keys.AdvanceMessage(c.chainID, s.grant.ID, generation)
	say := wire.Advance{Grant: s.grant.ID, Generation: generation, Signature: ed25519.Sign(s.session, message)}
	want := min(len(c.endpoints), max(1, s.sharing.Threshold()))
	var first error
	for _, endpoint := range c.endpoints {
		var heard wire.Advanced
		err := wire.Call(ctx, c.HTTP, http.MethodPost, endpoint, wire.PathAdvance, say, &heard)
		if err == nil && heard.Generation != generation {
			err = vm.Refuse(vm.CodeInvalid, "node %s confirms generation %d, want %d", endpoint, heard.Generation, generation)
		}
		if err == nil {
			if want--; want == 0 {
				return nil
			}
			continue
		}
		if first == nil || vm.CodeOf(first) == vm.CodeUnavailable {
			first = err
		}
	}
	return fmt.Errorf("advance the disk to generation %d: %w", generation, first)
}

// Close wipes the keys. Copies that Key returned are the caller's.
func (s *Session) Close() {
	for id, k := range s.secrets {
		k.Wipe()
		s.secrets[id] = k
	}
	clear(s.secrets)
	clear(s.session)
}
