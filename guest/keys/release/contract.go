package release

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/kms/secretnetwork"
	"github.com/secretvm/secretvm/vm"
)

// releaseByContract asks the contract of existing machines, which counts no
// generations and says no time that anybody vouches for.
func (m machine) releaseByContract(ctx context.Context, w *work) (*keys.Released, error) {
	contract, err := secretnetwork.New(m.endpoints, m.config)
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	contract.Waiting = w.waiting(ctx)
	session, err := contract.ReleaseBy(ctx, func(ctx context.Context) (*ecdh.PrivateKey, vm.Evidence, error) {
		quoted, err := w.quote(ctx, keys.About{})
		if err != nil {
			return nil, vm.Evidence{}, err
		}
		defer clear(quoted.Key)
		private, err := ecdh.X25519().NewPrivateKey(quoted.Key)
		if err != nil {
			return nil, vm.Evidence{}, errors.New("make a quote: it comes without the key that it is about")
		}
		return private, *quoted.Evidence, nil
	})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	disk := session.DiskKey()
	r := &keys.Released{Disk: []keys.Secret{disk[:]}, Suspects: session.Suspects()}
	env, err := session.Environment()
	if err == nil && env != nil {
		r.Environ, err = env.Encode()
	}
	if err != nil {
		return nil, fmt.Errorf("environment from the key manager: %w", err)
	}
	return r, nil
}
