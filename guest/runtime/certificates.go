package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// keepCertificates puts a certificate where containers find it, before the
// first of them starts, and has those of a public authority got and renewed
// beside everything else, by a process of its own. No boot waits for an authority.
func (m *machine) keepCertificates(ctx context.Context) error {
	config := m.handover.config.ACME
	if config == nil {
		return nil
	}
	request, err := m.strangers.key.Request(config.Names)
	if err != nil {
		return err
	}
	disk := filepath.Join(dataFolder, "certificates")
	if err := errors.Join(handTo(ipc.UserCertificates, disk, 0o700), handTo(ipc.UserCertificates, vm.TLSFolder, 0o755)); err != nil {
		return fmt.Errorf("prepare certificates: %w", err)
	}
	shared, err := os.Open(vm.TLSFolder)
	if err != nil {
		return fmt.Errorf("prepare certificates: %w", err)
	}
	port, err := listenTCP(ctx, int(config.Port()))
	if err != nil {
		return err
	}
	first, socket := begin(), filepath.Join(ipc.Desk, attestation.CertificatesPart)
	if err := m.answer(ctx, socket, ipc.UserCertificates, m.answersAboutCertificates(first)); err != nil {
		return err
	}
	stop, err := ipc.Service{
		Part: attestation.CertificatesPart, User: ipc.UserCertificates, Files: []*os.File{port, shared}, Spared: true,
		Settings: attestation.CertificatesSettings{Socket: socket, Config: *config, Request: request, Disk: disk},
	}.Keep(ctx, m.commands, m.out.Note)
	if err != nil {
		return err
	}
	m.stops.add("stop writing certificates", 8*time.Second, stop)
	return within(ctx, servicePatience, first.wait)
}

// answersAboutCertificates keeps what the process reports. The first report says
// whether containers find their key.
func (m *machine) answersAboutCertificates(first *task) *ipc.Server {
	s := ipc.NewServer(nil)
	ipc.Handle(s, attestation.AskShow, func(_ context.Context, r attestation.Report) (struct{}, error) {
		var err error
		if r.Error != "" {
			err = errors.New(r.Error)
		}
		first.end(err)
		if last := m.certificates.Load(); len(r.Chain) == 0 && last != nil { // it was started again
			r.Chain = last.Chain
		}
		m.certificates.Store(&r)
		return struct{}{}, nil
	})
	ipc.Handle(s, attestation.AskNote, func(_ context.Context, text string) (struct{}, error) {
		m.out.Note(fmt.Sprintf("%.2000s", text))
		return struct{}{}, nil
	})
	return s
}

// withCertificates adds to a status what is said about them.
func (m *machine) withCertificates(s attestation.Status) attestation.Status {
	if r := m.certificates.Load(); r != nil && r.Error == "" {
		s.TLS, s.Chain = &r.Certificates, r.Chain
	}
	return s
}

// handTo makes a folder, if need be, and gives it with all that lies in it to a user.
func handTo(user int, folder string, mode fs.FileMode) error {
	if err := os.MkdirAll(folder, mode); err != nil {
		return err
	}
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, user, user))
	})
}
