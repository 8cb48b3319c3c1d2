package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Names of the sockets that Machine.Arguments uses, relative to QEMU's working
// directory: a UNIX socket's path is limited to 108 bytes, a folder's is not.
const (
	QMPSocket = "qmp.sock"
	TEESocket = "tee.sock"
)

// Forward makes one TCP port of the guest reachable on the host's loopback.
type Forward struct {
	Host  int `json:"host"`
	Guest int `json:"guest"`
}

// Machine is what QEMU is told about one machine: its hardware and the files
// and ports behind it. Paths must be absolute.
type Machine struct {
	Name  string // shown in process lists
	TEE   vm.TEE
	Shape vm.Shape
	KVM   bool // soft machines only: use the CPU's virtualisation

	Firmware    string
	Kernel      string
	Initramfs   string
	CommandLine string // byte for byte the manifest's

	Rootfs string // read-only disks
	Config string
	Data   string // raw, writable, may be sparse

	ConfigID   vm.Register // TDX: MR_CONFIG_ID; SNP: HOST_DATA, its first 32 bytes: bound at launch
	Encryption Encryption  // SNP: of the host's processor
	GPUs       []string    // as many as the shape has: the host's PCI addresses, such as 0000:17:00.0
	Forwards   []Forward
}

// Hardware returns the arguments that decide what the guest sees: board,
// memory, processors and devices in their slots. It is a function of the TEE
// and the shape alone, so that it can be predicted.
func Hardware(tee vm.TEE, shape vm.Shape) ([]string, error) {
	if err := shape.Validate(); err != nil {
		return nil, err
	}
	if shape.GPUs > 0 && tee == vm.Soft {
		return nil, errors.New("machine arguments: soft machines get no GPU: nothing would protect what is on it")
	}
	board, objects, err := board(tee, shape)
	if err != nil {
		return nil, err
	}
	args := []string{
		// No default devices, no configuration of the host's user, no reboot
		// into something that was not measured.
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", board,
		"-smp", strconv.Itoa(shape.CPUs),
		"-m", strconv.FormatInt(shape.Memory>>20, 10) + "M",
		// The order decides the PCI slots. No device has a bootindex or an option
		// ROM: either would add measured boot entries.
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-blk-pci,drive=rootfs,serial=rootfs",
		"-device", "virtio-blk-pci,drive=config,serial=config",
		"-device", "virtio-blk-pci,drive=data,serial=data",
		"-device", "virtio-rng-pci",
		"-device", "isa-serial,chardev=console",
	}
	args = append(args, ports(tee, shape.GPUs)...)
	args = append(args, objects...)
	if tee == vm.Soft {
		args = append(args, "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=tee,name=tee.0")
	}
	return args, nil
}

// Arguments returns QEMU's whole command line, without the binary. The guest's
// console is QEMU's standard output; QMP listens on QMPSocket; a soft TEE must
// listen on TEESocket before QEMU starts.
func (m Machine) Arguments() ([]string, error) {
	hardware, err := Hardware(m.TEE, m.Shape)
	if err != nil {
		return nil, err
	}
	for what, path := range map[string]string{
		"firmware": m.Firmware, "kernel": m.Kernel, "initramfs": m.Initramfs,
		"rootfs": m.Rootfs, "config disk": m.Config, "data disk": m.Data,
	} {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("machine arguments: %s is %q, want an absolute path", what, path)
		}
	}
	args := []string{"-name", escape(m.Name)}
	processor, err := m.processor()
	if err != nil {
		return nil, err
	}
	args = append(args, processor...)
	args = append(args, hardware...)
	gpus, err := m.gpus()
	if err != nil {
		return nil, err
	}
	args = append(args, gpus...)
	args = append(args,
		"-bios", m.Firmware, "-kernel", m.Kernel, "-initrd", m.Initramfs, "-append", m.CommandLine,
		"-blockdev", readOnly("rootfs", m.Rootfs),
		"-blockdev", readOnly("config", m.Config),
		"-blockdev", writable("data", m.Data),
		"-netdev", m.network(),
		"-chardev", "stdio,id=console,signal=off",
		"-qmp", "unix:"+QMPSocket+",server=on,wait=off",
	)
	if m.TEE == vm.Soft {
		args = append(args, "-chardev", "socket,id=tee,path="+TEESocket)
	}
	return args, nil
}

// softCPU is an old model, which boots fastest under emulation: newer ones make
// OpenSSL and Go pick instructions that are slow to emulate. But one instruction
// that does a round of AES or two of SHA-256 is one call for the emulator, and what
// every block of the disks would cost without it is dozens of others.
// AMD's name keeps Linux from isolating page tables against Meltdown, which an
// emulated CPU does not have, and which costs emulation its TLB at every system call.
const softCPU = "Nehalem,vendor=AuthenticAMD,+aes,+pclmulqdq,+sha-ni"

// processor chooses accelerator and CPU.
func (m Machine) processor() ([]string, error) {
	switch {
	case m.TEE != vm.Soft:
		object, err := m.guard()
		model := "host"
		if m.TEE == vm.SNP {
			model = SNPModel
			if m.Shape.GPUs > 0 {
				model += snpAddresses
			}
		}
		return []string{"-accel", "kvm", "-cpu", model, "-object", object}, err
	case m.KVM:
		return []string{"-accel", "kvm", "-cpu", "host"}, nil
	default:
		return []string{"-accel", "tcg,thread=multi", "-cpu", softCPU}, nil
	}
}

func (m Machine) network() string {
	var b strings.Builder
	b.WriteString("user,id=net")
	for _, f := range m.Forwards {
		fmt.Fprintf(&b, ",hostfwd=tcp:127.0.0.1:%d-:%d", f.Host, f.Guest)
	}
	return b.String()
}

// blockdev is QEMU's BlockdevOptions for a raw image file. The JSON form is
// used because no character of a path has a meaning in it.
type blockdev struct {
	Driver   string    `json:"driver"`
	Node     string    `json:"node-name,omitempty"`
	Filename string    `json:"filename,omitempty"`
	ReadOnly bool      `json:"read-only"`
	Discard  string    `json:"discard,omitempty"`
	Cache    *cache    `json:"cache,omitempty"`
	File     *blockdev `json:"file,omitempty"`
}

// cache is write-back with flushes honoured: a guest that synced has its data
// on the host's disk.
type cache struct {
	Direct  bool `json:"direct"`
	NoFlush bool `json:"no-flush"`
}

func readOnly(node, path string) string {
	return encode(blockdev{
		Driver: "raw", Node: node, ReadOnly: true,
		File: &blockdev{Driver: "file", Filename: path, ReadOnly: true},
	})
}

func writable(node, path string) string {
	c := &cache{}
	return encode(blockdev{
		Driver: "raw", Node: node, Discard: "unmap", Cache: c,
		File: &blockdev{Driver: "file", Filename: path, Discard: "unmap", Cache: c},
	})
}

func encode(b blockdev) string {
	out, _ := json.Marshal(b) // strings and booleans always encode
	return string(out)
}

// escape doubles commas, which separate options in QEMU's key=value form.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
