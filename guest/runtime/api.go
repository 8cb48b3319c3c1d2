package runtime

import (
	"context"

	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/vm"
)

// apiFolder holds the sockets on which containers ask the machine.
const apiFolder = "/run/secretvm/api"

// startAPI answers containers that the measured config grants something, and
// has the workload mount their sockets.
func (m *machine) startAPI(ctx context.Context) error {
	if len(m.handover.config.API) == 0 {
		return nil
	}
	released, _ := m.session.(api.Keys)
	server, err := api.New(api.Options{
		Quoter: m.device, TEE: m.device.Kind(), Config: m.handover.config, Events: m.handover.events, Keys: released,
	})
	if err != nil {
		return err
	}
	sockets, err := server.Listen(ctx, apiFolder)
	if err != nil {
		return err
	}
	m.api.Store(server)
	m.sockets = sockets
	return nil
}

// signing shows what containers can prove; nil: nothing is granted to them.
func (m *machine) signing() attestd.Signing {
	if len(m.handover.config.API) == 0 {
		return nil
	}
	return shownAPI{m}
}

// shownAPI is the API from before it has keys.
type shownAPI struct{ m *machine }

// PublicKey implements attestd.Signing.
func (s shownAPI) PublicKey(kind string) ([]byte, [64]byte) {
	if server := s.m.api.Load(); server != nil {
		return server.PublicKey(kind)
	}
	return nil, [64]byte{}
}

// Application implements attestd.Signing.
func (s shownAPI) Application() (vm.Register, []vm.Event) {
	if server := s.m.api.Load(); server != nil {
		return server.Application()
	}
	return vm.Register{}, nil
}
