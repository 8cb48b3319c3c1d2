package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/guest/api"
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

// contractSession is the session of a contract, which counts no generations and
// says no time that anybody vouches for.
type contractSession struct{ *secretnetwork.Session }

func (s contractSession) Decided() (block, offered, heard time.Time) { return block, offered, heard }

func (s contractSession) DiskKeys() ([]luks.Key, error) {
	return []luks.Key{luks.Key(s.Session.DiskKey())}, nil
}

// newChainRelease asks the nodes of a kmsd chain.
func newChainRelease(h handOver, device tee.Device, waiting func(client.Wait)) (func(context.Context) (session, error), error) {
	kms, err := client.New(h.archive.Hints.KMS, h.config.KMS)
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	kms.Waiting = waiting
	return func(ctx context.Context) (session, error) {
		epochs := epochsOf(h.config.KMS)
		for {
			s, err := kms.Release(ctx, device, client.Request{Config: h.config, Events: h.events, Keys: wanted(h.config, epochs)})
			if err == nil {
				return kmsSession{s, h.config, epochs}, nil
			}
			open := withoutClosed(epochs, err)
			if len(open) == len(epochs) {
				return nil, err
			}
			epochs = open
		}
	}, nil
}

// epochsOf lists the epochs whose keys a machine may need, its own first.
func epochsOf(kms vm.KMS) []uint64 {
	out := []uint64{kms.Epoch}
	for _, p := range kms.Previous {
		out = append(out, p.Epoch)
	}
	return out
}

// wanted lists the keys of some epochs. That the disk was last used, or something
// was sealed, under an earlier one is known only later. What containers are
// granted is there of the epoch before too, so that they can move what they keep.
func wanted(cfg vm.Config, epochs []uint64) (ids []keys.ID) {
	for _, epoch := range epochs {
		ids = append(ids, keys.Disk(cfg.Service, cfg.InstanceID).In(epoch))
		for _, name := range []string{"env", "registry"} { // nothing is made of these where nothing is sealed
			ids = append(ids, keys.ID{Service: cfg.Service, Scope: keys.ScopeService, Name: name, Epoch: epoch})
		}
	}
	for _, epoch := range epochs[:min(2, len(epochs))] {
		ids = append(ids, api.Wanted(cfg, epoch)...)
	}
	return ids
}

// withoutClosed leaves out the earlier epoch that the chain says is closed: its
// keys are gone for good, and a disk that was moved in time does not need them.
func withoutClosed(epochs []uint64, err error) []uint64 {
	var r *vm.Refusal
	if !errors.As(err, &r) || r.Code != vm.CodeInvalid || r.Field != "epoch" {
		return epochs
	}
	return slices.DeleteFunc(slices.Clone(epochs), func(e uint64) bool { return e != epochs[0] && strconv.FormatUint(e, 10) == r.Found })
}

// kmsSession is the session of a real key manager.
type kmsSession struct {
	*client.Session
	config vm.Config
	epochs []uint64 // of which it has keys, the machine's own first
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

// DiskKeys implements session.
func (s kmsSession) DiskKeys() (out []luks.Key, err error) {
	for _, epoch := range s.epochs {
		key, err := s.diskKey(epoch)
		if err != nil {
			wipe(out)
			return nil, err
		}
		out = append(out, key)
	}
	return out, nil
}

func (s kmsSession) diskKey(epoch uint64) (key luks.Key, err error) {
	secret, err := s.Key(keys.Disk(s.config.Service, s.config.InstanceID).In(epoch))
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

func wipe(keys []luks.Key) {
	for i := range keys {
		clear(keys[i][:])
	}
}
