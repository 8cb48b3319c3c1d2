package runtime

import (
	"context"

	"github.com/secretvm/secretvm/guest/api"
)

// apiFolder holds the sockets on which containers ask the machine.
const apiFolder = "/run/secretvm/api"

// startAPI answers containers that the measured config grants something, and
// has the workload mount their sockets.
func (m *machine) startAPI(ctx context.Context) error {
	if len(m.handover.config.API) == 0 {
		return nil
	}
	server, err := api.New(api.Options{
		Quoter: m.device, TEE: m.device.Kind(), Config: m.handover.config, Events: m.handover.events,
	})
	if err != nil {
		return err
	}
	sockets, err := server.Listen(ctx, apiFolder)
	if err != nil {
		return err
	}
	return m.project.MountSockets(sockets)
}
