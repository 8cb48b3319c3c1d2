package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// unmountBelow unmounts everything that is mounted below root, deepest last
// mounted first. What cannot be unmounted is detached: its users are gone or
// will be.
func unmountBelow(root string) error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	var errs []error
	targets := mountsBelow(string(info), root)
	for _, target := range slices.Backward(targets) {
		if err := unix.Unmount(target, 0); err != nil {
			errs = append(errs, unix.Unmount(target, unix.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists the mount points below root in the order of mounting, from
// the text of /proc/self/mountinfo (proc_pid_mountinfo(5)): the fifth field,
// with space, tab, newline and backslash as octal escapes.
func mountsBelow(info, root string) []string {
	var targets []string
	for line := range strings.Lines(info) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		target := unescape.Replace(fields[4])
		if strings.HasPrefix(target, root+"/") {
			targets = append(targets, target)
		}
	}
	return targets
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// PowerOff writes out what is left and ends the machine. Should the kernel
// refuse, PID 1 exits, which makes it panic and reset.
func PowerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(1)
}
