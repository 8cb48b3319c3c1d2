package ipc

import (
	"context"
	"errors"
	"net"
	"os"
)

// Hand makes the socket at path as Listen does, as a file that a service is given
// (Service.Files) and takes over (Inherited). Close the
// file once the service runs, so that questions end with the service.
func Hand(ctx context.Context, path string, user int) (*os.File, error) {
	l, err := Listen(ctx, path, user)
	if err != nil {
		return nil, err
	}
	unix := l.(*net.UnixListener)
	unix.SetUnlinkOnClose(false)
	file, err := unix.File()
	return file, errors.Join(err, unix.Close())
}
