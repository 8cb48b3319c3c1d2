package foundry

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// enterFailed is the exit code of a process that could not set up the root.
const enterFailed = 125

// devices are all that the build sees of the host's.
var devices = []string{"null", "zero", "urandom"}

// statfsRelatime is ST_RELATIME of statfs(2).
const statfsRelatime = 0x1000

// environment is all of it: nothing of the user's goes in.
var environment = []string{
	"PATH=/usr/bin", "HOME=/tmp", "TMPDIR=/tmp", "LC_ALL=C", "TZ=UTC",
	"PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "SOURCE_DATE_EPOCH=1793491200",
}

// namespaced is a script as the first process of new user, mount, PID, network,
// IPC and host name namespaces: whoever runs it is root there and nobody else,
// nothing reaches a network, and all ends with it. o.Enter leads to Enter.
func (o Options) namespaced(ctx context.Context, toolchain, root string, script []string) *exec.Cmd {
	c := exec.CommandContext(ctx, o.Enter[0], slices.Concat(o.Enter[1:], []string{toolchain, root}, script)...)
	c.Env = environment
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return c
}

// namespaceError says what to do where namespaces are forbidden.
func (p Product) namespaceError(err error) error {
	return fmt.Errorf("make namespaces for the build: %w; this machine forbids them to this user "+
		"(kernel.unprivileged_userns_clone, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, or a container's seccomp filter): "+
		"allow them, build as root or elsewhere, or give a prebuilt file with %s FILE or %s", err, p.Flag, p.Variable)
}

// Enter is the first thing that runs in the namespaces: it mounts the toolchain
// read-only below root, makes root the root, and becomes the shell that runs the
// script, a path below /Dir with its arguments. It returns only when it fails;
// the process should then exit with its code.
func Enter(toolchain, root string, script []string) (exitCode int, err error) {
	if err := enter(toolchain, root); err != nil {
		return enterFailed, err
	}
	err = syscall.Exec("/usr/bin/bash", slices.Concat([]string{"bash", "/" + Dir + "/" + script[0]}, script[1:]), environment)
	return enterFailed, fmt.Errorf("start the build: %w", err)
}

func enter(toolchain, root string) error {
	// Mounts made here stay here.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := bindReadOnly(filepath.Join(toolchain, "usr"), filepath.Join(root, "usr")); err != nil {
		return fmt.Errorf("mount toolchain: %w", err)
	}
	for _, device := range devices {
		if err := syscall.Mount("/dev/"+device, filepath.Join(root, "dev", device), "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /dev/%s: %w", device, err)
		}
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("enter build folder: %w", err)
	}
	return os.Chdir("/" + Dir)
}

// bindReadOnly keeps the flags that the mount below has already: a user
// namespace may add flags but not take any away (mount_namespaces(7)).
func bindReadOnly(from, to string) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(to, &s); err != nil {
		return err
	}
	// statfs(2) has these bits where mount(2) has them, but relatime.
	flags := uintptr(s.Flags) & (syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC | syscall.MS_NOATIME | syscall.MS_NODIRATIME)
	if s.Flags&statfsRelatime != 0 {
		flags |= syscall.MS_RELATIME
	}
	return syscall.Mount("", to, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY|flags, "")
}
