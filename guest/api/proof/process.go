package proof

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// Listen makes a socket for each service that is granted something, in folder,
// which root alone may look into: containers get them mounted. It returns their
// paths by service, and what the process is given: the sockets, in the order of
// the services' names.
func Listen(ctx context.Context, folder string, grants vm.API) (paths map[string]string, services []string, sockets []*os.File, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("start the containers' API: %w", err)
	}
	paths, services = map[string]string{}, slices.Sorted(maps.Keys(grants))
	for _, service := range services {
		path := filepath.Join(folder, service+".sock")
		file, err := ipc.Hand(ctx, path, os.Getuid())
		if err == nil { // whoever sees the socket may ask: containers run as all kinds of users
			err = os.Chmod(path, 0o666)
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("start the containers' API: %w", err)
		}
		paths[service], sockets = path, append(sockets, file)
	}
	return paths, services, sockets, nil
}
