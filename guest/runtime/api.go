package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
)

const (
	// apiFolder holds the sockets on which containers ask the machine.
	apiFolder   = ipc.Folder + "/api"
	apiPatience = time.Minute // from the process's start to its first answer
)

// startAPI starts the process that answers containers, where the measured config
// grants them something, and learns the keys with which it signs while nobody
// else can ask it. Should it end, it is started again, on the same sockets.
func (m *machine) startAPI(ctx context.Context) error {
	config := m.handover.config
	if len(config.API) == 0 {
		return nil
	}
	asked := filepath.Join(ipc.Desk, proof.Part)
	if err := m.answer(ctx, asked, ipc.UserAPI, m.desk.Server()); err != nil {
		return fmt.Errorf("start the containers' API: %w", err)
	}
	paths, services, sockets, err := proof.Listen(ctx, apiFolder, config.API)
	if err != nil {
		return err
	}
	asks := filepath.Join(ipc.Folder, proof.Part+".sock")
	own, err := ipc.Hand(ctx, asks, 0)
	if err != nil {
		return fmt.Errorf("start the containers' API: %w", err)
	}
	_, err = ipc.Service{
		Part: proof.Part, User: ipc.UserAPI, Files: append([]*os.File{own}, sockets...), Spared: true,
		Settings: proof.Settings{
			Socket: asked, TEE: m.device.Kind(), Config: m.handover.archive.Config, Events: m.handover.events, Keys: m.keysOfContainers(), Services: services,
		},
	}.Keep(ctx, m.commands, m.out.Note)
	if err != nil {
		return err
	}
	var public []proof.Public
	err = within(ctx, apiPatience, func(ctx context.Context) (err error) {
		client := ipc.Dial(asks, proof.Errors)
		defer client.Close()
		public, err = ipc.Ask[struct{}, []proof.Public](ctx, client, proof.AskPublic, struct{}{})
		return err
	})
	if err == nil {
		err = m.desk.Show(public)
	}
	if err != nil {
		return fmt.Errorf("start the containers' API: %w", err)
	}
	m.sockets = paths
	return nil
}

// keysOfContainers are those that the key manager released for what the measured
// config grants.
func (m *machine) keysOfContainers() (held []proof.Key) {
	for _, k := range m.session.Named {
		held = append(held, proof.Key{Name: k.Name, Epoch: k.Epoch, Secret: k.Key})
	}
	return held
}

// signing shows what containers can prove, from before they have keys; nil: nothing
// is granted to them.
func (m *machine) signing() attestation.Signing {
	if m.desk == nil {
		return nil
	}
	return m.desk
}

// answer has the questions of a service answered that come by a socket which only
// its user can open.
func (m *machine) answer(ctx context.Context, socket string, user int, s *ipc.Server) error {
	l, err := ipc.Listen(ctx, socket, user)
	if err != nil {
		return err
	}
	go func() {
		if err := s.Serve(ctx, l); err != nil {
			m.out.Note(err.Error())
		}
	}()
	return nil
}
