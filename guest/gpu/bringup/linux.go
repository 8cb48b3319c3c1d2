package bringup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/gpu/nvml"
	"github.com/secretvm/secretvm/guest/kmod"
)

// Where an image for GPUs has what is NVIDIA's.
const (
	moduleList = "/usr/lib/secretvm/gpu-modules.list"
	library    = "libnvidia-ml.so.1"
	driver     = "/sys/module/nvidia" // is there while the driver is loaded
)

// libraryFolders hold the driver's libraries for programs, as Debian has them.
var libraryFolders = []string{debianLibraries, debianLibraries + "/nvidia/current"}

// Linux is the machine that this process runs in.
func Linux() System {
	return System{
		Load:    func() error { return loadDriver(moduleList, driver) },
		Bus:     func() (int, error) { return countGPUs("/sys/bus/pci/devices") },
		Nodes:   func(gpus int) error { return makeNodes("/dev", "/proc/devices", gpus) },
		Library: func() (*nvml.Library, error) { return nvml.Open(library) },
		Publish: func(version string, devices []nvml.Device) error {
			libraries, err := findLibraries(libraryFolders, version)
			if err != nil {
				return err
			}
			return writeSpec(gpu.CDIFolder, describe(devices, libraries, smi))
		},
		// A driver would bring a device up that never proved itself.
		Seal: func() error { return os.WriteFile("/sys/bus/pci/drivers_autoprobe", []byte("0"), 0) },
		Now:  time.Now,
	}
}

// loadDriver loads the modules of a list. NVIDIA's first module stays only where it
// finds a device that it knows.
func loadDriver(list, driver string) error {
	_, err := kmod.LoadList(list)
	if _, e := os.Stat(driver); errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(errors.New("the image's driver knows none of them"), err)
	}
	return err
}

// PCI ids: NVIDIA's vendor id, and the classes of display and 3D controllers.
const (
	vendorNVIDIA = "0x10de"
	classDisplay = "0x0300"
	class3D      = "0x0302"
	nodeMode     = unix.S_IFCHR | 0o666
	majorNVIDIA  = 195 // linux/major.h does not know it; it is the driver's own, since ever
	minorControl = 255
	nameUVM      = "nvidia-uvm"
)

// countGPUs counts the GPUs below a folder like /sys/bus/pci/devices.
func countGPUs(folder string) (n int, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		vendor, err := os.ReadFile(filepath.Join(folder, e.Name(), "vendor"))
		if err != nil {
			return 0, err
		}
		class, err := os.ReadFile(filepath.Join(folder, e.Name(), "class"))
		if err != nil {
			return 0, err
		}
		isGPU := strings.HasPrefix(string(class), classDisplay) || strings.HasPrefix(string(class), class3D)
		if strings.TrimSpace(string(vendor)) == vendorNVIDIA && isGPU {
			n++
		}
	}
	return n, nil
}

// makeNodes makes the files through which programs reach the devices: the
// driver has none made, and there is no udev.
func makeNodes(dev, registered string, gpus int) error {
	uvm, err := majorOf(registered, nameUVM)
	if err != nil {
		return err
	}
	nodes := map[string]uint64{
		"nvidiactl": unix.Mkdev(majorNVIDIA, minorControl),
		nameUVM:     unix.Mkdev(uvm, 0),
	}
	for i := range gpus {
		nodes["nvidia"+strconv.Itoa(i)] = unix.Mkdev(majorNVIDIA, uint32(i))
	}
	for name, number := range nodes {
		path := filepath.Join(dev, name)
		if err := unix.Mknod(path, nodeMode, int(number)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make %s: %w", path, err)
		}
		if err := os.Chmod(path, 0o666); err != nil { // past the umask: who may open them, the container engine says
			return err
		}
	}
	return nil
}

// majorOf finds the number that a driver was given, in a file like /proc/devices.
func majorOf(registered, name string) (uint32, error) {
	text, err := os.ReadFile(registered)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if number, driver, _ := strings.Cut(strings.TrimSpace(line), " "); driver == name {
			n, err := strconv.ParseUint(number, 10, 12)
			return uint32(n), err
		}
	}
	return 0, fmt.Errorf("the driver %s is not loaded", name)
}
