package client

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

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

	views  []view        // right ones of the newest look
	pace   time.Duration // in which enough nodes answered it
	points points
	misled map[string]bool // endpoints that named blocks which were not recent

	asked     wire.Release
	granted   vm.Hash   // id of the grant, which follows from the release; zero: none
	offered   vm.Hash   // id that a grant would have of what was offered last
	offeredAt time.Time // when it was offered first
	grantedAt time.Time
	grantedBy string     // endpoint that said so
	grant     wire.Grant // what the grant says, by one node's word until settle

	ledger   wire.Ledger      // what the nodes whose answers made the keys vouched for
	sharing  keys.Commitments // under which they were made
	sigmas   map[keys.ID]keys.Signature
	suspects []string
}

func (s *Session) publicKey() ed25519.PublicKey { return s.session.Public().(ed25519.PublicKey) }

// Grant returns the chain's decision. Its time and generation, and what is sealed
// in it, is what at least one honest node reads in its ledger, as long as fewer
// than the threshold are dishonest.
func (s *Session) Grant() wire.Grant { return s.grant }

// Decided returns the time of the block that granted, on which a threshold of
// nodes agree, and between which readings of this machine's clock that was. Both
// readings are monotonic: since heard no less than time.Since(heard) has passed
// since block, and no more than time.Since(offered). A host that holds answers back
// widens the bounds, and cannot move them.
func (s *Session) Decided() (block, offered, heard time.Time) {
	return s.grant.Time, s.offeredAt, s.grantedAt
}

// Key returns a key that the release asked for.
func (s *Session) Key(id keys.ID) (keys.Secret, error) {
	sigma, ok := s.sigmas[id]
	if !ok {
		return keys.Secret{}, vm.Refuse(vm.CodePermission, "the release did not ask for key %s", id)
	}
	group, err := s.client.groupOf(id.Epoch)
	if err != nil {
		return keys.Secret{}, err
	}
	return keys.Derive(group, id, sigma)
}

// Names of the keys to which an owner seals something for a service's machines.
const (
	nameEnv      = "env"
	nameRegistry = "registry"
)

// Env returns what the owner sealed as the service's environment, or nil if
// there is nothing. The caller wipes it.
func (s *Session) Env() ([]byte, error) { return s.unseal(nameEnv, s.grant.Env) }

// Registry returns what the owner sealed to log in to registries, or nil.
func (s *Session) Registry() ([]byte, error) { return s.unseal(nameRegistry, s.grant.Registry) }

func (s *Session) unseal(name string, sealed *wire.Sealed) ([]byte, error) {
	if sealed == nil {
		return nil, nil
	}
	id := keys.ID{Service: s.grant.Service, Scope: keys.ScopeService, Name: name, Epoch: sealed.Epoch}
	sigma, ok := s.sigmas[id]
	if !ok {
		return nil, vm.Refuse(vm.CodePermission, "the release did not ask for key %s", id)
	}
	group, err := s.client.groupOf(id.Epoch)
	if err != nil {
		return nil, err
	}
	plain, err := keys.Decrypt(group, id, sigma, sealed.Ciphertext, nil)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeInvalid, "the service's %s on the ledger cannot be decrypted", name).
			Try("the owner seals it again: secretvm service "+name+" set"), err)
	}
	return plain, nil
}

// Suspects names the nodes that answered wrongly, with the reason, for the log.
// The keys are right nevertheless. Partial keys are looked at one by one only
// when together they make no key, so that a liar who came too late is not here.
func (s *Session) Suspects() []string { return slices.Clone(s.suspects) }

func (s *Session) suspect(endpoint, reason string) {
	if text := fmt.Sprintf("node %s: %s", endpoint, reason); !slices.Contains(s.suspects, text) && len(s.suspects) < maxSuspects {
		s.suspects = append(s.suspects, text)
	}
}

// maxSuspects bounds what liars can make a machine remember.
const maxSuspects = 4 * MaxEndpoints

// Close wipes the keys and ends connections. Copies that Key returned are the
// caller's.
func (s *Session) Close() {
	for id, sigma := range s.sigmas {
		sigma.Wipe()
		s.sigmas[id] = sigma
	}
	clear(s.sigmas)
	clear(s.session)
	s.client.HTTP.CloseIdleConnections()
}
