package vm

import (
	"fmt"
	"maps"
	"slices"
)

// Bounds on what a Config says of the workload's services.
const (
	MaxPins     = 256
	maxServices = 256
	maxPinName  = 512 // bytes of an image's name
)

// Pins are the digests of images that the compose file names without one: by
// the name as it stands there, the SHA-256 of the image's manifest.
type Pins map[string]Hash

func (p Pins) validate() error {
	if len(p) > MaxPins {
		return fmt.Errorf("%d pinned images, want at most %d", len(p), MaxPins)
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if name == "" || len(name) > maxPinName || p[name].IsZero() {
			return fmt.Errorf("image %.40q is pinned to %s, want a name of at most %d bytes and a digest", name, p[name], maxPinName)
		}
	}
	return nil
}

// serviceOfFile is Compose's rule for the names of services and profiles.
var serviceOfFile = Pattern(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// validateWorkload reports what in the fields about the workload has no meaning.
func (c Config) validateWorkload() error {
	if _, _, err := c.Destinations(); err != nil {
		return err
	}
	if err := c.Pins.validate(); err != nil {
		return err
	}
	if err := validateNames("privileged", c.Privileged); err != nil {
		return err
	}
	return validateNames("profiles", c.Profiles)
}

func validateNames(what string, list []string) error {
	if len(list) > maxServices || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
		return fmt.Errorf("%s: want a sorted list without repetition, not longer than %d", what, maxServices)
	}
	for _, name := range list {
		if !serviceOfFile(name) {
			return fmt.Errorf("%s names %.40q, which nothing in a compose file can be called", what, name)
		}
	}
	return nil
}
