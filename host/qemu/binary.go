package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Binary is the command that runs QEMU: the program with the arguments that come
// before QEMU's own, such as a loader and its library path, and variables that
// are added to the environment.
type Binary struct {
	Argv []string
	Env  []string
}

// System returns the QEMU at path, or of that name in $PATH, if it can be relied on.
func System(ctx context.Context, path string) (Binary, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		return Binary{}, fmt.Errorf("find QEMU: %w (leave --qemu out to use the locked one)", err)
	}
	if found, err = filepath.Abs(found); err != nil {
		return Binary{}, fmt.Errorf("find QEMU: %w", err)
	}
	text, err := exec.CommandContext(ctx, found, "--version").Output()
	if err != nil {
		return Binary{}, fmt.Errorf("ask %s for its version: %w", found, err)
	}
	return Binary{Argv: []string{found}}, checkVersion(found, string(text))
}

var versionPattern = regexp.MustCompile(`^QEMU emulator version (\d+)\.(\d+)`)

// checkVersion refuses versions whose emulation of several processors runs code
// that another processor has just patched in its old form: Linux then dies at
// random while it boots. Fixed in 8.1.
func checkVersion(path, text string) error {
	v := versionPattern.FindStringSubmatch(text)
	if v == nil {
		return fmt.Errorf("%s does not say that it is QEMU: %.80q", path, text)
	}
	major, _ := strconv.Atoi(v[1])
	minor, _ := strconv.Atoi(v[2])
	if major < 8 || major == 8 && minor < 1 {
		return fmt.Errorf("%s is QEMU %s.%s, want 8.1 or later: older ones make Linux crash at random on several emulated CPUs (leave --qemu out to use the locked one)", path, v[1], v[2])
	}
	return nil
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
