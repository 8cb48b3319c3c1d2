package bringup

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/guest/gpu/nvml"
)

// The Container Device Interface, version 0.5.0 (SPEC.md of
// cncf-tags/container-device-interface): what the container engine adds to a
// container that is given a device. It is made here instead of by nvidia-ctk:
// there is one layout, which the image fixes, and no hook has to run.
type (
	spec struct {
		Version string   `json:"cdiVersion"`
		Kind    string   `json:"kind"`
		Devices []member `json:"devices"`
		Edits   edits    `json:"containerEdits"`
	}
	member struct {
		Name  string `json:"name"`
		Edits edits  `json:"containerEdits"`
	}
	edits struct {
		Env    []string `json:"env,omitempty"`
		Nodes  []node   `json:"deviceNodes,omitempty"`
		Mounts []mount  `json:"mounts,omitempty"`
	}
	node struct {
		Path string `json:"path"`
	}
	mount struct {
		Host      string   `json:"hostPath"`
		Container string   `json:"containerPath"`
		Options   []string `json:"options"`
	}
)

// containerLibraries are folders in which the loaders of Debian's and of Red
// Hat's families look by themselves, so that no cache has to be made anew; and the
// one that NVIDIA's images name in LD_LIBRARY_PATH.
var containerLibraries = []string{debianLibraries, "/usr/lib64", "/usr/local/nvidia/lib64"}

const (
	debianLibraries = "/usr/lib/x86_64-linux-gnu"
	smi             = "/usr/bin/nvidia-smi" // of the image and of containers
)

// describe lists the devices by number, by their own id, and all together.
// libraries are paths by the name that programs ask for, programs are at the same
// path in a container.
func describe(devices []nvml.Device, libraries map[string]string, programs ...string) spec {
	s := spec{Version: "0.5.0", Kind: "nvidia.com/gpu", Edits: edits{
		Env: []string{
			// What would make a second mechanism, in images that bring one, step in.
			"NVIDIA_VISIBLE_DEVICES=void",
			// Triton, and with it PyTorch, asks the loader's cache for libcuda unless told.
			"TRITON_LIBCUDA_PATH=" + debianLibraries,
		},
		Nodes: []node{{"/dev/nvidiactl"}, {"/dev/" + nameUVM}},
	}}
	for _, name := range slices.Sorted(maps.Keys(libraries)) {
		for _, folder := range containerLibraries {
			s.Edits.Mounts = append(s.Edits.Mounts, bind(libraries[name], filepath.Join(folder, name)))
		}
	}
	for _, program := range programs {
		s.Edits.Mounts = append(s.Edits.Mounts, bind(program, program))
	}
	var all edits
	for i, d := range devices {
		own := edits{Nodes: []node{{"/dev/nvidia" + strconv.FormatUint(uint64(d.Minor), 10)}}}
		all.Nodes = append(all.Nodes, own.Nodes...)
		s.Devices = append(s.Devices, member{strconv.Itoa(i), own}, member{d.UUID, own})
	}
	s.Devices = append(s.Devices, member{"all", all})
	return s
}

func bind(host, container string) mount {
	return mount{host, container, []string{"ro", "nosuid", "nodev", "bind"}}
}

// findLibraries finds the files of a driver's version, by the names under which
// programs ask for them.
func findLibraries(folders []string, version string) (map[string]string, error) {
	found := map[string]string{}
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(folder, "*.so."+version))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			name, err := soname(path)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			found[name] = path
		}
	}
	if found["libcuda.so.1"] == "" {
		return nil, fmt.Errorf("the image has no libcuda.so.%s in %s", version, strings.Join(folders, " or "))
	}
	return found, nil
}

func soname(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil {
		return "", err
	}
	if len(names) != 1 || filepath.Base(names[0]) != names[0] {
		return "", fmt.Errorf("it names itself %q, want one name", names)
	}
	return names[0], nil
}

// writeSpec puts the description where the container engine looks for it.
func writeSpec(folder string, s spec) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "nvidia.json"), b, 0o444)
}
