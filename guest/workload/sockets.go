package workload

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/compose"
)

// MountSockets gives services a socket each, by name, at compose.APISocket:
// through a second file, which docker compose lays over the measured one. A
// volume of that target in the measured file gives way. A service that the
// measured file does not have makes docker compose fail.
func (p *Project) MountSockets(sockets map[string]string) error {
	services := map[string]any{}
	for service, socket := range sockets {
		services[service] = map[string]any{"volumes": []any{map[string]any{
			"type": "bind", "source": socket, "target": compose.APISocket,
			"bind": map[string]any{"create_host_path": false},
		}}}
	}
	b, err := json.Marshal(map[string]any{"services": services}) // JSON is YAML
	if err != nil {
		return fmt.Errorf("mount sockets: %w", err)
	}
	path := filepath.Join(p.engine.folders.Run, "workload-sockets.yaml")
	if err := os.WriteFile(path, b, 0o444); err != nil {
		return fmt.Errorf("mount sockets: %w", err)
	}
	p.overlays = append(p.overlays, path)
	return nil
}
