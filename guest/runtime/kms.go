package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// newRelease returns the question that asks the key manager of the measured
// config for this boot's keys. Where to ask is the host's hint.
func newRelease(h handOver, device tee.Device) (func(context.Context) (session, error), error) {
	if len(h.archive.Hints.KMS) == 0 {
		return nil, errors.New("the host names no key manager: put its URL into the hints (kms)")
	}
	kms, err := client.New(h.archive.Hints.KMS, h.config.KMS)
	if err != nil {
		return nil, fmt.Errorf("key manager: %w", err)
	}
	disk := keys.Disk(h.config.Service, h.config.InstanceID)
	request := client.Request{Config: h.config, Events: h.events, Keys: []keys.ID{disk}}
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
