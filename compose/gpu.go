package compose

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/vm"
)

// checkGPUs reports the first service that asks for a GPU although gpu: attest
// is not said, or that asks in a way in which the guest does not understand it.
// The guest looks at every container again.
func (s Settings) checkGPUs(doc *yaml.Node) error {
	keys, values := pairs(lookup(doc, "services"))
	for i, key := range keys {
		n, err := asksGPU(values[i])
		if err == nil && n != nil && s.GPU != vm.GPUAttest {
			err = at(n, "it asks for a GPU, which a machine has only with gpu: %s in %s: a GPU that has not proved itself is the host's", vm.GPUAttest, SettingsKey)
		}
		if err != nil {
			return fmt.Errorf("service %s: %w", key.Value, err)
		}
	}
	return nil
}

// asksGPU returns where a service asks for a GPU; nil: nowhere.
func asksGPU(service *yaml.Node) (*yaml.Node, error) {
	if n := lookup(service, "gpus"); n != nil {
		return nil, at(n, "gpus is newer than this image's docker compose: ask with deploy.resources.reservations.devices (driver: nvidia, count: all, capabilities: [gpu])")
	}
	if n := lookup(service, "runtime"); n != nil && n.Value == "nvidia" {
		return n, nil
	}
	devices := service
	for _, name := range []string{"deploy", "resources", "reservations", "devices"} {
		if devices = lookup(devices, name); devices == nil {
			return nil, nil
		}
	}
	for _, d := range devices.Content {
		d = follow(d)
		if driver := lookup(d, "driver"); driver != nil && !slices.Contains([]string{"nvidia", "cdi"}, driver.Value) {
			return nil, at(driver, "devices of the driver %q: there are NVIDIA's GPUs only (driver: nvidia or cdi)", driver.Value)
		}
	}
	if len(devices.Content) == 0 {
		return nil, nil
	}
	return devices, nil
}
