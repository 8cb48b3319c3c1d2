package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// handOver is what stage 1 left: the measured bytes, and the host's hints.
type handOver struct {
	archive configdisk.Archive
	config  vm.Config
	events  []vm.Event
	steps   []step.Result
}

// readHandOver reads the files of dir and checks again that they fit each
// other: the config names the digests of the rest.
func readHandOver(dir string) (h handOver, err error) {
	read := func(name string) (b []byte) {
		if err == nil {
			b, err = os.ReadFile(filepath.Join(dir, name))
		}
		return b
	}
	decode := func(name string, into any) {
		if b := read(name); err == nil {
			if err = json.Unmarshal(b, into); err != nil {
				err = fmt.Errorf("decode %s: %w", name, err)
			}
		}
	}
	h.archive, h.config, err = configdisk.OpenFolder(dir)
	h.archive.Files = nil // held against the config, and for the workload's own process
	decode(initramfs.EventsName, &h.events)
	decode(initramfs.StepsName, &h.steps)
	if err != nil {
		return h, fmt.Errorf("read what stage 1 measured: %w", err)
	}
	return h, nil
}

// name is the workload's name: what follows the owner in the service's id.
func (h handOver) name() string {
	_, name, _ := strings.Cut(h.config.Service, "/")
	return name
}
