package workload

import (
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// MountSockets gives services a socket each, by name, at vm.APISocket:
// through a second file, which docker compose lays over the measured one. A
// volume of that target in the measured file gives way. A service that the
// measured file does not have makes docker compose fail.
func (p *Project) MountSockets(sockets map[string]string) error {
	services := map[string]any{}
	for service, socket := range sockets {
		services[service] = volume(socket, vm.APISocket, false)
	}
	return p.overlay("workload-sockets.yaml", services)
}

// MountFolder gives services a folder of the machine, at its own path and for
// reading, in the same way.
func (p *Project) MountFolder(folder string, services []string) error {
	mounts := map[string]any{}
	for _, service := range services {
		mounts[service] = volume(folder, folder, true)
	}
	return p.overlay("workload"+strings.ReplaceAll(folder, "/", "-")+".yaml", mounts)
}

// volume is a service with one bind mount, as Compose has it.
func volume(source, target string, readOnly bool) any {
	return map[string]any{"volumes": []any{map[string]any{
		"type": "bind", "source": source, "target": target, "read_only": readOnly,
		"bind": map[string]any{"create_host_path": false},
	}}}
}
