package doctor

import (
	"errors"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/host/qemu"
)

// Device is how a device file answered.
type Device string

// The answers.
const (
	Opened Device = "opened"
	Absent Device = "absent"
	Denied Device = "denied" // by its permissions
	Broken Device = "broken" // it is there, and nothing answers behind it
)

// Probe is what files do not say.
type Probe struct {
	User   string `json:"user"`
	Groups []int  `json:"groups"` // ids of the running process

	KVM        Device `json:"kvm"`         // /dev/kvm
	VMTypes    uint   `json:"vm_types"`    // KVM_CAP_VM_TYPES: a bit for each kind of machine; 0 where KVM did not open
	GuestMemfd bool   `json:"guest_memfd"` // KVM_CAP_GUEST_MEMFD
	SEV        Device `json:"sev"`         // /dev/sev

	Encryption qemu.Encryption `json:"encryption"` // zero where the processor has none

	// QEMU says where the emulator is; QEMUError why there is none.
	QEMU      string `json:"qemu"`
	QEMUError string `json:"qemu_error"`
	// Firmware says whose firmware was looked at, empty: none; TDXFirmware and
	// SNPFirmware what is wrong with it, empty: nothing.
	Firmware    string `json:"firmware"`
	TDXFirmware string `json:"tdx_firmware"`
	SNPFirmware string `json:"snp_firmware"`
}

// Requests to /dev/kvm (Linux, include/uapi/linux/kvm.h).
const (
	kvmCheckExtension = 0xae03
	kvmGuestMemfd     = 234
	kvmVMTypes        = 235
)

// Look asks this computer's devices. It makes no machine and changes nothing.
// What concerns QEMU and firmware is left to the caller.
func Look() Probe {
	p := Probe{User: strconv.Itoa(os.Getuid())}
	if u, err := user.Current(); err == nil {
		p.User = u.Username
	}
	if groups, err := os.Getgroups(); err == nil {
		p.Groups = groups
	}
	p.Groups = append(p.Groups, os.Getegid())
	p.KVM = open("/dev/kvm", func(f *os.File) {
		ask := func(extension uintptr) uint {
			n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), kvmCheckExtension, extension)
			if errno != 0 {
				return 0
			}
			return uint(n)
		}
		p.VMTypes, p.GuestMemfd = ask(kvmVMTypes), ask(kvmGuestMemfd) != 0
	})
	p.SEV = open("/dev/sev", func(*os.File) {})
	if e, err := qemu.HostEncryption(); err == nil {
		p.Encryption = e
	}
	return p
}

func open(path string, use func(*os.File)) Device {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Absent
	case errors.Is(err, os.ErrPermission):
		return Denied
	case err != nil:
		return Broken
	}
	defer f.Close()
	use(f)
	return Opened
}
