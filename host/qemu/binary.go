package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Binary is the command that runs QEMU: the program with the arguments that come
// before QEMU's own, such as a loader and its library path, and variables that
// are added to the environment.
type Binary struct {
	Argv []string
	Env  []string
}

// System finds a QEMU of the host: path if it is given, else the one in $PATH.
func System(path string) (Binary, error) {
	if path == "" {
		path = "qemu-system-x86_64"
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return Binary{}, fmt.Errorf("find QEMU: %w (install it with: apt-get install qemu-system-x86)", err)
	}
	found, err = filepath.Abs(found)
	if err != nil {
		return Binary{}, fmt.Errorf("find QEMU: %w", err)
	}
	return Binary{Argv: []string{found}}, nil
}

// HasKVM reports whether this host can run machines on its CPU: the processor
// says so and /dev/kvm can be opened. The device alone is not enough, since a
// container may show one that does not work.
func HasKVM() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !virtualises(string(info)) {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// virtualises looks for the flag of VT-x or AMD-V in the text of /proc/cpuinfo.
func virtualises(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		name, flags, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		for _, flag := range strings.Fields(flags) {
			if flag == "vmx" || flag == "svm" {
				return true
			}
		}
	}
	return false
}
