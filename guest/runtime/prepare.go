package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/guest/kmod"
	"github.com/secretvm/secretvm/tee"
)

// moduleList names the drivers of stage 2.
const moduleList = "/usr/lib/secretvm/modules.list"

// prepare makes the read-only root usable and reads what stage 1 left.
func (m *machine) prepare(ctx context.Context) (string, error) {
	// Drivers first: a second or two of work that nothing before the network needs.
	m.modules = start(func() error {
		_, err := kmod.LoadList(moduleList)
		return err
	})
	if err := mountAll(); err != nil {
		return "", err
	}
	var err error
	if m.handover, err = readHandOver(initramfs.HandOverDir); err != nil {
		return "", err
	}
	m.journal.add(m.handover.steps)
	if err := m.startDHCP(ctx); err != nil {
		return "", err
	}
	if err := m.work.Start(ctx); err != nil {
		return "", err
	}
	m.checked = start(func() error { return m.checkWorkload(ctx) })
	m.startClock()
	// What this process has touched stays in memory: containers that use it up are
	// not to make attestation wait for its own program.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		m.out.Note(fmt.Sprintf("keep in memory: %v", err))
	}
	if err := setKernel(); err != nil {
		m.out.Note(err.Error()) // hardening that this kernel lacks
	}
	if err := setIdentity(m.handover.name(), m.handover.config.InstanceID); err != nil {
		return "", err
	}
	if m.device, err = tee.Open(); err != nil {
		return "", err
	}
	if m.now, err = m.device.Read(ctx); err == nil {
		err = m.openGPUs(ctx)
	}
	if err == nil {
		err = m.startAsker(ctx)
	}
	if err == nil { // it comes up while the network does
		err = m.beginAttestation(ctx)
	}
	return m.handover.config.Service, err
}

// mounts of stage 2, beside those that came from stage 1. All that can be
// written lies in memory or, later, on the encrypted disk.
var mounts = []struct {
	source, target string
	flags          uintptr
	data           string
}{
	{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"cgroup2", "/sys/fs/cgroup", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "nsdelegate"},
	{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777,size=25%"},
	{"tmpfs", "/var", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755,size=64M"},
}

// folders and links that programs expect in the empty tmpfs of /var, and on /run.
var (
	folders = []string{"/run/lock", "/var/lib", "/var/log", "/var/cache"}
	links   = map[string]string{"/var/run": "/run", "/var/lock": "/run/lock", "/var/tmp": "/tmp"}
)

func mountAll() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
		if err := unix.Mount(m.source, m.target, m.source, m.flags, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, dir := range folders {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for link, target := range links {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	// Mounts of containers that ask for shared propagation must find it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	return nil
}

// settings of the kernel. The host has a say in few of them, so that they are
// set before anything of the workload runs.
var settings = []struct{ name, value, why string }{
	{"kernel/sysrq", "0", "the host can send a break on the console"},
	{"kernel/kptr_restrict", "2", "containers need no kernel addresses"},
	{"kernel/dmesg_restrict", "1", "nor the kernel's log"},
	{"kernel/unprivileged_bpf_disabled", "1", "nor programs in the kernel"},
	{"kernel/kexec_load_disabled", "1", "what was measured stays what runs"},
	{"kernel/yama/ptrace_scope", "1", ""},
	{"fs/protected_hardlinks", "1", ""},
	{"fs/protected_symlinks", "1", ""},
	{"net/ipv4/ip_forward", "1", "Docker's bridges route"},
	{"net/ipv6/conf/default/forwarding", "1", "and so do those with IPv6, for which dockerd wants both"},
	{"net/ipv6/conf/all/forwarding", "1", ""},
	{"net/ipv4/conf/all/accept_redirects", "0", "the network is the host's"},
	{"net/ipv4/conf/default/accept_redirects", "0", ""},
	{"net/ipv4/conf/all/accept_source_route", "0", ""},
	{"net/ipv4/conf/default/accept_source_route", "0", ""},
	{"net/ipv6/conf/all/accept_redirects", "0", ""},
	{"net/ipv6/conf/default/accept_redirects", "0", ""},
	{"net/ipv6/conf/all/accept_ra", "0", "but for the machine's own interface (package network)"},
	{"net/ipv6/conf/default/accept_ra", "0", ""},
	{"vm/max_map_count", "262144", "what databases ask of a Docker host"},
	{"fs/inotify/max_user_instances", "1024", ""},
}

// setKernel applies settings; those that the kernel does not have are skipped.
func setKernel() error {
	var errs []error
	for _, s := range settings {
		err := os.WriteFile(filepath.Join("/proc/sys", s.name), []byte(s.value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("set %s: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

// utc is Coordinated Universal Time as a time zone file of version 1: a header
// with one type and four characters, offset 0 called UTC (RFC 8536, 3).
const utc = "TZif\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x04" +
	"\x00\x00\x00\x00\x00\x00UTC\x00"

// setIdentity names the machine after its workload, and gives it the instance
// id as machine id: both are measured.
func setIdentity(name, instance string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	for file, content := range map[string]string{"/run/hostname": name + "\n", "/run/machine-id": instance + "\n", "/run/localtime": utc} {
		if err := os.WriteFile(file, []byte(content), 0o444); err != nil {
			return fmt.Errorf("set identity: %w", err)
		}
	}
	return nil
}

// lockModules ends the loading of kernel modules for good, once those of the
// image are in: nothing in the guest has a reason to add one.
func lockModules() {
	_ = os.WriteFile("/proc/sys/kernel/modules_disabled", []byte("1"), 0) // hardening only
}
