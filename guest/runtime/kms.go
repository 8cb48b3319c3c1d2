package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/secretnetwork"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// newRelease returns the question that asks the key manager of the measured
// config for this boot's keys. Where to ask is the host's hint.
func newRelease(h handOver, device tee.Device, waiting func(client.Wait)) (func(context.Context) (session, error), error) {
	if len(h.archive.Hints.KMS) == 0 {
		return nil, errors.New("the host names no key manager: put its URL into the hints (kms)")
	}
	if h.config.KMS.Provider == vm.ProviderSecretNetwork {
		return newContractRelease(h, device, waiting)
	}
	return newChainRelease(h, device, waiting)
}

// newContractRelease asks the contract of existing machines.
func newContractRelease(h handOver, device tee.Device, waiting func(client.Wait)) (func(context.Context) (session, error), error) {
	contract, err := secretnetwork.New(h.archive.Hints.KMS, h.config)
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	contract.Waiting = waiting
	return func(ctx context.Context) (session, error) {
		s, err := contract.Release(ctx, device)
		if err != nil {
			return nil, err
		}
		return contractSession{s}, nil
	}, nil
}

// contractSession is the session of a contract, which counts no generations.
type contractSession struct{ *secretnetwork.Session }

func (s contractSession) DiskKey() (luks.Key, error) { return luks.Key(s.Session.DiskKey()), nil }

// newChainRelease asks the nodes of a kmsd chain.
func newChainRelease(h handOver, device tee.Device, waiting func(client.Wait)) (func(context.Context) (session, error), error) {
	kms, err := client.New(h.archive.Hints.KMS, h.config.KMS)
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	kms.Waiting = waiting
	disk := keys.Disk(h.config.Service, h.config.InstanceID)
	request := client.Request{Config: h.config, Events: h.events, Keys: []keys.ID{disk}}
	for _, name := range []string{"env", "registry"} { // nothing is made of these where nothing is sealed
		request.Keys = append(request.Keys, keys.ID{Service: h.config.Service, Scope: keys.ScopeService, Name: name, Epoch: h.config.KMS.Epoch})
	}
	return func(ctx context.Context) (session, error) {
		s, err := kms.Release(ctx, device, request)
		if err != nil {
			return nil, err
		}
		return kmsSession{s, disk}, nil
	}, nil
}

// kmsSession is the session of a real key manager.
type kmsSession struct {
	*client.Session
	disk keys.ID
}

func (s kmsSession) Generation() uint64 { return s.Grant().Generation }

// Environment implements session.
func (s kmsSession) Environment() (vm.Environment, error) {
	plain, err := s.Env()
	if err != nil || plain == nil {
		return nil, err
	}
	defer clear(plain)
	return vm.ParseEnvironment(plain)
}

func (s kmsSession) DiskKey() (key luks.Key, err error) {
	secret, err := s.Key(s.disk)
	if err != nil {
		return key, err
	}
	defer secret.Wipe()
	b := secret.Bytes()
	defer clear(b)
	if copy(key[:], b) != len(key) || len(b) != len(key) {
		return key, vm.Refuse(vm.CodeInternal, "the disk key has %d bytes, want %d", len(b), len(key))
	}
	return key, nil
}
