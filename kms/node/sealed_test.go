package node

import (
	"crypto/rand"
	"testing"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// TestOwnerSealsAnEnvironment: the owner encrypts with the group key alone, the
// ledger holds what nobody else can read, and the service's machine reads it.
func TestOwnerSealsAnEnvironment(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	id := keys.ID{Service: cfg.Service, Scope: keys.ScopeService, Name: types.SealedEnv}
	sealed, err := keys.Encrypt(rand.Reader, s.made.GroupKey, id, []byte(`{"TOKEN":"hunter2"}`), nil)
	must(t, err)
	must(t, s.send(t, &types.MsgSeal{Owner: s.made.Owner, Service: cfg.Service, Name: types.SealedEnv, Ciphertext: sealed}))
	session, _ := s.disk(t, cfg)
	plain, err := session.Env()
	if err != nil || string(plain) != `{"TOKEN":"hunter2"}` {
		t.Errorf("the machine reads %q, %v", plain, err)
	}
	if registry, err := session.Registry(); err != nil || registry != nil {
		t.Errorf("nobody sealed registry credentials, and there are %q, %v", registry, err)
	}
}
