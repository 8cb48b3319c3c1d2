// Command inside is the first process of the machine in which package disk is
// tested: the image's kernel, drivers and tools, and the code that opens a data
// disk, without anything that a boot does besides. What it is to do is on the
// kernel's command line; what it says goes to the console, a line of JSON each.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/blockdev"
	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/guest/kmod"
)

const newRoot = "/image"

// direct runs commands: nothing here leaves orphans.
type direct struct{}

func (direct) Run(_ context.Context, cmd *exec.Cmd) ([]byte, error) { return cmd.CombinedOutput() }

func main() {
	err := run(context.Background())
	if err != nil {
		say(map[string]any{"error": err.Error()})
	}
	unix.Sync()
	panic(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)) // it does not return
}

func run(ctx context.Context) error {
	if err := (initramfs.Linux{}).MountBase(); err != nil {
		return err
	}
	if err := enter(ctx); err != nil {
		return err
	}
	o, err := options()
	if err != nil {
		return err
	}
	switch o["job"] {
	case "use":
		return use(ctx, o)
	case "speed":
		return speed(ctx)
	default:
		return fmt.Errorf("job is %q", o["job"])
	}
}

// enter makes the image's file system the root and loads its drivers. It is not
// verified here: that is not what is tested.
func enter(ctx context.Context) error {
	if _, err := kmod.LoadList("/modules.list"); err != nil {
		return err
	}
	device, err := blockdev.Find(ctx, blockdev.Rootfs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(device, newRoot, "erofs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount the image: %w", err)
	}
	for _, name := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := unix.Mount(name, newRoot+name, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", name, err)
		}
	}
	if err := unix.Chroot(newRoot); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	_, err = kmod.LoadList("/usr/lib/secretvm/modules.list")
	return err
}

// options reads what begins with "disk." on the command line.
func options() (map[string]string, error) {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	o := make(map[string]string)
	for _, word := range strings.Fields(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(word, "disk."), "="); ok && strings.HasPrefix(word, "disk.") {
			o[name] = value
		}
	}
	return o, nil
}

func number(o map[string]string, name string) uint64 {
	n, err := strconv.ParseUint(o[name], 10, 64)
	if err != nil {
		panic(fmt.Sprintf("disk.%s is %q", name, o[name]))
	}
	return n
}

func say(what map[string]any) {
	b, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Printf("\ninside: %s\n", b)
}
