// Probe is the init of a test's machine: it says what the kernel is like, as one
// line of JSON on the console, and switches the machine off.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"securityfs", "/sys/kernel/security"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			fmt.Println("mount", m[1], err)
		}
	}
	line, err := json.Marshal(map[string]any{
		"vulnerabilities": folder("/sys/devices/system/cpu/vulnerabilities"),
		"files":           present("/dev/mem", "/dev/port", "/dev/net/tun", "/proc/kcore", "/proc/kallsyms", "/proc/modules", "/proc/config.gz", "/proc/self/ns/user", "/proc/self/ns/net", "/proc/self/numa_maps", "/proc/swaps", "/sys/kernel/debug", "/sys/kernel/config"),
		"lockdown":        text("/sys/kernel/security/lockdown"),
		"lsm":             text("/sys/kernel/security/lsm"),
		"version":         text("/proc/version"),
		"bpf":             text("/proc/sys/kernel/unprivileged_bpf_disabled"),
		"memory":          text("/proc/meminfo"),
		"errors":          errors(),
	})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("\nprobe: %s\n", line)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func text(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "error: " + err.Error()
	}
	return strings.TrimSpace(string(b))
}

func folder(name string) map[string]string {
	out := map[string]string{}
	files, _ := filepath.Glob(name + "/*")
	for _, file := range files {
		out[filepath.Base(file)] = text(file)
	}
	return out
}

func present(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, name := range names {
		_, err := os.Stat(name)
		out[name] = err == nil
	}
	return out
}

// errors is what root gets for things that the minimal kernel does not have.
func errors() map[string]string {
	out := map[string]string{}
	call := func(name string, number uintptr, args ...uintptr) {
		args = append(args, 0, 0, 0)
		_, _, errno := unix.RawSyscall(number, args[0], args[1], args[2])
		out[name] = unix.ErrnoName(errno)
	}
	none := ^uintptr(0)
	call("finit_module", unix.SYS_FINIT_MODULE, none)
	call("kexec_load", unix.SYS_KEXEC_LOAD, 0, none)
	call("io_uring_setup", unix.SYS_IO_URING_SETUP, 0)
	call("userfaultfd", unix.SYS_USERFAULTFD, none)
	call("swapon", unix.SYS_SWAPON)
	call("modify_ldt", unix.SYS_MODIFY_LDT, 99)
	call("process_vm_readv", unix.SYS_PROCESS_VM_READV)
	call("membarrier", unix.SYS_MEMBARRIER) // the query: both kernels answer
	_, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	out["socket vsock"] = unix.ErrnoName(asErrno(err))
	_, err = unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	out["socket alg"] = unix.ErrnoName(asErrno(err))
	return out
}

func asErrno(err error) unix.Errno {
	errno, _ := err.(unix.Errno)
	return errno
}
