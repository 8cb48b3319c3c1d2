// Command inside is the first process of the machine in which package disk is
// tested: the image's kernel, drivers and tools, and the code that opens a data
// disk, without anything that a boot does besides. It takes orders from the console,
// a line of JSON each, and answers there.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/blockdev"
	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/guest/kmod"
)

const newRoot = "/image"

// order is what the machine is to do next.
type order struct {
	Job        string `json:"job"` // use, read, ephemeral, speed
	Integrity  bool   `json:"integrity"`
	Generation uint64 `json:"generation"` // of the chain
	Epoch      uint64 `json:"epoch"`      // of the disk's key
	Records    uint64 `json:"records"`    // to append
	Content    uint64 `json:"content"`    // to write, if it is not 0: which version
}

// direct runs commands: nothing here leaves orphans.
type direct struct{}

func (direct) Run(_ context.Context, cmd *exec.Cmd) ([]byte, error) { return cmd.CombinedOutput() }

func main() {
	err := run(context.Background()) // until it fails, or the host ends the machine
	say(map[string]any{"error": err.Error()})
	panic(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)) // it does not return
}

func run(ctx context.Context) error {
	if err := (initramfs.Linux{}).MountBase(); err != nil {
		return err
	}
	if err := enter(ctx); err != nil {
		return err
	}
	if err := quiet(); err != nil {
		return err
	}
	say(map[string]any{"done": true})
	for {
		line, err := host.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("read orders: %w", err)
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return fmt.Errorf("read order %q: %w", line, err)
		}
		if err := o.carryOut(ctx); err != nil {
			say(map[string]any{"error": err.Error()})
		}
		say(map[string]any{"done": true})
	}
}

func (o order) carryOut(ctx context.Context) error {
	device, err := blockdev.Find(ctx, blockdev.Data)
	if err != nil {
		return err
	}
	if err := forget(device); err != nil {
		return err
	}
	switch o.Job {
	case "use":
		return o.use(ctx, device)
	case "read":
		return o.read(ctx, device)
	case "ephemeral":
		return o.ephemeral(ctx, device)
	case "speed":
		return o.speed(device)
	default:
		return fmt.Errorf("job is %q", o.Job)
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

// forget drops what the kernel remembers of a disk that nobody has open: the host
// may have put another in its place.
func forget(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("forget the disk: %w", err)
	}
	_, err = unix.IoctlRetInt(int(f.Fd()), unix.BLKFLSBUF)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("forget the disk: %w", err)
	}
	return nil
}

// host is the console.
var host = bufio.NewReader(os.Stdin)

// quiet ends the console's echo, which would come between our lines.
func quiet() error {
	t, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	if err == nil {
		t.Lflag &^= unix.ECHO
		err = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, t)
	}
	if err != nil {
		return fmt.Errorf("end the console's echo: %w", err)
	}
	return nil
}

func say(what map[string]any) {
	b, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Printf("\ninside: %s\n", b)
}

// promise says something and waits until the host has written it down, with what
// lay on the disk at the time.
func promise(what string, n uint64) error {
	say(map[string]any{what: n})
	_, err := host.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
