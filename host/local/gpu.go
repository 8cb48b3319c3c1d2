package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/vm"
)

// pciDevices is where the kernel lists this computer's devices.
const pciDevices = "/sys/bus/pci/devices"

// checkGPUs holds the GPUs that are to be given away against what the workload
// demands, and against what this computer has.
func (o *Options) checkGPUs(devices string) error {
	demanded := o.Workload.Settings.GPU == vm.GPUAttest
	switch {
	case !demanded && len(o.GPUs) == 0:
		return nil
	case !demanded:
		return fmt.Errorf("--gpu: the workload demands no proof of a GPU, so its machine gets none: say gpu: %s in x-secretvm of %s", vm.GPUAttest, o.Workload.Path)
	case o.TEE == vm.Soft:
		return errors.New("gpu: attest needs a machine in a real TEE with a GPU in confidential mode: the soft TEE gets none, for nothing would protect what is on it " +
			"(on a computer that has both: --tee tdx --gpu ADDRESS; on this one try the workload with gpu: none and without asking for a GPU)")
	case len(o.GPUs) == 0:
		return errors.New("gpu: attest: name the GPUs that the machine is to have, each with --gpu ADDRESS such as 0000:17:00.0 (lspci -D -d 10de: lists them)")
	case o.OwnImage:
		return errors.New("gpu: attest needs an image for GPUs: make one with secretvm image build --spec gpu --output FOLDER, and name it with --image FOLDER")
	}
	for _, address := range o.GPUs {
		if err := bound(devices, address); err != nil {
			return fmt.Errorf("--gpu %s: %w", address, err)
		}
	}
	o.Shape.GPUs = len(o.GPUs)
	return nil
}

// bound reports a device that cannot be given to a machine.
func bound(devices, address string) error {
	if filepath.Base(address) != address {
		return errors.New("want a PCI address such as 0000:17:00.0")
	}
	folder := filepath.Join(devices, address)
	if _, err := os.Stat(folder); err != nil {
		return errors.New("this computer has no such device (lspci -D -d 10de: lists its GPUs)")
	}
	name := "none"
	if driver, err := os.Readlink(filepath.Join(folder, "driver")); err == nil {
		name = filepath.Base(driver)
	}
	if name != "vfio-pci" {
		return fmt.Errorf("its driver is %s, and it can be given away by vfio-pci alone: as root, echo vfio-pci > %s/driver_override, unbind it, and echo %s > /sys/bus/pci/drivers_probe",
			name, folder, address)
	}
	return nil
}

// forGPUs refuses an image that could not bring up the machine's GPUs.
func (im Image) forGPUs(gpus int) error {
	if gpus > 0 && im.Manifest.Name != imageGPU {
		return fmt.Errorf("the image in %s is %s, and the workload demands one for GPUs (secretvm image build --spec gpu)", im.Folder, im.Manifest.Name)
	}
	return nil
}

// imageGPU is the name of images for GPUs.
const imageGPU = "gpu"
