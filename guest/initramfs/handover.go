package initramfs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/step"
)

// HandOverDir is the folder of the files that stage 1 leaves for stage 2, on
// the tmpfs that stays mounted across the switch of the root. They are the
// measured bytes, except for the hints, which are untrusted.
const HandOverDir = "/run/secretvm"

// Names of the files of HandOverDir beside those of the config archive
// (configdisk.ConfigName, ComposeName, FilesName and HintsName).
const (
	EventsName = "events.json" // []vm.Event: what was extended, in order
	StepsName  = "steps.json"  // []step.Result so far
)

// handOver writes the files of HandOverDir.
func (b *boot) handOver(steps []step.Result) error {
	files := map[string][]byte{
		configdisk.ConfigName: b.archive.Config, configdisk.ComposeName: b.archive.Compose, configdisk.FilesName: b.archive.Files,
	}
	for name, v := range map[string]any{configdisk.HintsName: b.archive.Hints, EventsName: b.events, StepsName: steps} {
		var err error
		if files[name], err = json.Marshal(v); err != nil {
			return fmt.Errorf("hand over %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if files[name] == nil { // there is no files archive
			continue
		}
		if err := b.sys.HandOver(name, files[name]); err != nil {
			return fmt.Errorf("hand over %s: %w", name, err)
		}
	}
	return nil
}
