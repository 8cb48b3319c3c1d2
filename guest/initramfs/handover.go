package initramfs

import (
	"encoding/json"
	"fmt"

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
	files := []struct {
		name string
		raw  []byte
		json any // in place of raw
	}{
		{configdisk.ConfigName, b.archive.Config, nil},
		{configdisk.ComposeName, b.archive.Compose, nil},
		{configdisk.FilesName, b.archive.Files, nil},
		{configdisk.HintsName, nil, b.archive.Hints},
		{EventsName, nil, b.events},
		{StepsName, nil, steps},
	}
	for _, f := range files {
		if f.name == configdisk.FilesName && f.raw == nil {
			continue
		}
		content := f.raw
		if f.json != nil {
			var err error
			if content, err = json.Marshal(f.json); err != nil {
				return fmt.Errorf("hand over %s: %w", f.name, err)
			}
		}
		if err := b.sys.HandOver(f.name, content); err != nil {
			return fmt.Errorf("hand over %s: %w", f.name, err)
		}
	}
	return nil
}
