package qtest

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/measure/acpi"
	"github.com/secretvm/secretvm/vm"
)

// Arguments are those of the TDX machine of a shape, without what needs a
// processor with TDX and with back ends that have nothing behind them. Neither
// is in the tables.
func Arguments(shape vm.Shape) ([]string, error) {
	args, err := qemu.Hardware(vm.TDX, shape)
	if err != nil {
		return nil, err
	}
	at := slices.Index(args, "-machine") + 1
	if at == 0 || at == len(args) {
		return nil, fmt.Errorf("machine arguments name no board: %q", args)
	}
	var board []string
	for option := range strings.SplitSeq(args[at], ",") {
		key, _, _ := strings.Cut(option, "=")
		if key != "confidential-guest-support" && key != "kernel-irqchip" {
			board = append(board, option)
		}
	}
	// TDX switches SMM and the old interrupt controller off (QEMU
	// target/i386/kvm/tdx.c). The memory is not reserved: nobody uses it.
	board = append(board, "smm=off", "pic=off", "memory-backend=ram")
	args = slices.Clone(args)
	args[at] = strings.Join(board, ",")
	args = append(args,
		"-object", "memory-backend-ram,id=ram,reserve=off,size="+strconv.FormatInt(shape.Memory, 10),
		"-netdev", "hubport,id=net,hubid=0",
		"-chardev", "null,id=console",
	)
	for _, disk := range []string{"rootfs", "config", "data"} {
		args = append(args, "-blockdev", "null-co,read-zeroes=on,node-name="+disk)
	}
	return append(args, StandIns(shape.GPUs)...), nil
}

// StandIns are devices in place of GPUs, which QEMU has only where the host has
// them: the tables name what is behind a port, and not what it is. They have a
// memory of 128 GiB, as an H100, which nothing is behind. The processor has the
// addresses for it that every one with TDX has.
func StandIns(gpus int) (args []string) {
	if gpus > 0 {
		args = append(args, "-cpu", "qemu64,phys-bits=46")
	}
	for i := range gpus {
		args = append(args, "-device", "pci-testdev,membar=128G,bus="+qemu.PortOf(i))
	}
	return args
}

// ACPI returns the ACPI files that OVMF downloads in the TDX machine of a shape.
func ACPI(ctx context.Context, binary qemu.Binary, shape vm.Shape) (acpi.Blobs, error) {
	args, err := Arguments(shape)
	if err != nil {
		return acpi.Blobs{}, err
	}
	return Tables(ctx, binary, args)
}

// Tables returns the ACPI files of any machine with virtio devices on bus 0.
func Tables(ctx context.Context, binary qemu.Binary, arguments []string) (b acpi.Blobs, err error) {
	s, err := Start(ctx, binary, arguments)
	if err != nil {
		return b, err
	}
	defer s.Close()
	if err := s.likeOVMF(); err != nil {
		return b, err
	}
	return s.acpi()
}

// acpi reads the three files as QEMU hands them to firmware.
func (s *Session) acpi() (b acpi.Blobs, err error) {
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{acpi.LoaderFile, &b.Loader}, {acpi.RSDPFile, &b.RSDP}, {acpi.TablesFile, &b.Tables}} {
		if *f.to, err = s.File(f.name); err != nil {
			return b, fmt.Errorf("read ACPI tables: %w", err)
		}
	}
	return b, nil
}

// Version returns the first line of what QEMU says about its version.
func Version(ctx context.Context, binary qemu.Binary) (string, error) {
	argv := append(slices.Clone(binary.Argv), "--version")
	text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return "", fmt.Errorf("ask QEMU for its version: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line), nil
}
