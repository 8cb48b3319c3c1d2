package gate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// deviceRequest is how a container asks for GPUs (Docker Engine API,
// DeviceRequest).
type deviceRequest struct {
	Driver       string
	Count        int // -1: all
	DeviceIDs    []string
	Capabilities [][]string
}

// runtimeNVIDIA is a runtime that the machine does not have: containers that name
// it want all GPUs.
const runtimeNVIDIA = "nvidia"

// kindNVIDIA begins names of the Container Device Interface.
const kindNVIDIA = "nvidia.com/gpu="

// deviceName is what follows in a name: a number, a device's own id, or all.
var deviceName = regexp.MustCompile(`^(?:all|[0-9]{1,2}|GPU-[0-9a-f-]{36})$`)

// gpus turns every way of asking for GPUs into the one that dockerd has here, of
// names that the process which knows the GPUs has described.
func (p Policy) gpus(h host, config fields) error {
	var names []string
	for _, r := range h.DeviceRequests {
		more, err := r.names()
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	if h.Runtime == runtimeNVIDIA {
		delete(config, "Runtime")
		names = append(names, kindNVIDIA+"all")
	}
	switch {
	case len(names) == 0:
		return nil
	case !p.GPUs:
		return errors.New("it asks for a GPU, and the machine has none that proved itself: say gpu: attest in x-secretvm")
	}
	slices.Sort(names)
	return config.set("DeviceRequests", []map[string]any{{"Driver": "cdi", "DeviceIDs": slices.Compact(names)}})
}

// names are those of the devices that r asks for.
func (r deviceRequest) names() (names []string, err error) {
	isGPU := slices.ContainsFunc(r.Capabilities, func(all []string) bool { return slices.Contains(all, "gpu") })
	switch {
	case r.Driver == "cdi":
	case r.Driver != "" && r.Driver != "nvidia" || !isGPU:
		return nil, fmt.Errorf("it asks for a device of the driver %.40q: there are NVIDIA's GPUs only (driver nvidia, capabilities [gpu])", r.Driver)
	case len(r.DeviceIDs) == 0 && r.Count < 0:
		r.DeviceIDs = []string{"all"}
	case len(r.DeviceIDs) == 0:
		for i := range min(r.Count, 100) {
			r.DeviceIDs = append(r.DeviceIDs, strconv.Itoa(i))
		}
	}
	for _, id := range r.DeviceIDs {
		name, full := strings.CutPrefix(id, kindNVIDIA)
		if full != (r.Driver == "cdi") || !deviceName.MatchString(name) {
			return nil, fmt.Errorf("it asks for the device %.60q, want %sall or a number", id, kindNVIDIA)
		}
		names = append(names, kindNVIDIA+name)
	}
	return names, nil
}
