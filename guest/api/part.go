package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// Run is the process that answers containers, a part of guest-service without
// rights.
func Run() error {
	var settings proof.Settings
	ctx, stop, err := ipc.Begin(&settings)
	if err != nil {
		return err
	}
	defer stop()
	config, err := vm.ParseConfig(settings.Config)
	if err != nil {
		return err
	}
	s, err := New(Options{
		Machine: desk{ipc.Dial(settings.Socket, proof.Errors)}, TEE: settings.TEE, Config: config, Events: settings.Events, Keys: held(settings.Keys),
	})
	if err != nil {
		return err
	}
	own, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	for i, service := range settings.Services {
		l, err := ipc.Inherited(1 + i)
		if err != nil {
			return fmt.Errorf("answer service %s: %w", service, err)
		}
		go s.Serve(ctx, service, l) // until ctx ends
	}
	server := ipc.NewServer(proof.Errors)
	ipc.Handle(server, proof.AskPublic, func(context.Context, struct{}) ([]proof.Public, error) { return s.Public(), nil })
	return server.Serve(ctx, own)
}

// held are the keys that the process was started with.
type held []proof.Key

// Key implements Keys.
func (h held) Key(name string, epoch uint64) ([]byte, error) {
	for _, k := range h {
		if k.Name == name && k.Epoch == epoch {
			return slices.Clone([]byte(k.Secret)), nil
		}
	}
	return nil, vm.Refuse(vm.CodePermission, "no key %s of epoch %d was released to this machine", name, epoch)
}
