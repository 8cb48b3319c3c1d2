package qtest

import "fmt"

// What OVMF (edk2-stable202305 and later) sets before it downloads the ACPI
// tables, as far as they depend on it. QEMU makes the tables when they are
// first selected, and describes the chipset as it is then.
const (
	configAddress, configData = 0xcf8, 0xcfc

	hostBridge, lpcBridge = 0, 31 // devices of bus 0
	firstSlot, afterSlots = 1, 31

	// Of the host bridge: where the configuration space of PCI Express is
	// (OvmfPkg/Library/PlatformInitLib).
	pciExBar, pciExBarValue = 0x60, 0xe000_0000 | 1

	// Of the LPC bridge: ports of power management, and that they are on
	// (OvmfPkg/Library/PlatformInitLib).
	pmBase, pmBaseValue  = 0x40, 0x600
	acpiCntl, acpiCntlOn = 0x44, 0x80

	// Of every device, and of virtio's.
	command, commandMemory = 0x04, 0x02
	bar4                   = 0x20
	bar4Size               = 16 << 10
	vendorVirtio           = 0x1af4
	memory64Prefetchable   = 0xc

	// Of ports: class and what of the addresses above 4 GiB is behind them
	// (PCI-to-PCI Bridge Architecture Specification 1.2, 3.2.5.9): bits 31 to 20
	// of the first and of the last in 16 bits each, and the high halves.
	classRevision, bridgeClass = 0x08, 0x0604
	windowLow, windowHigh      = 0x24, 0x28
	windowSize                 = 256 << 30
)

// Window64 is where OVMF gives devices addresses above 4 GiB: the last eighth
// of an address space of 46 bits, to which it limits itself on processors with
// as many or more (PlatformDynamicMmioWindow).
const Window64 = 7 << 43

// config writes a register of a device's configuration space.
func (s *Session) config(device, register, value uint32, width string) error {
	if err := s.out("l", configAddress, 1<<31|device<<11|register); err != nil {
		return err
	}
	return s.out(width, configData, value)
}

func (s *Session) readConfig(device, register uint32) (uint32, error) {
	if err := s.out("l", configAddress, 1<<31|device<<11|register); err != nil {
		return 0, err
	}
	return s.in(configData)
}

// likeOVMF brings the chipset into the state in which OVMF downloads the tables.
func (s *Session) likeOVMF() error {
	for _, w := range []struct {
		device, register, value uint32
		width                   string
	}{
		{hostBridge, pciExBar + 4, 0, "l"},
		{hostBridge, pciExBar, pciExBarValue, "l"},
		{lpcBridge, pmBase, pmBaseValue, "l"},
		{lpcBridge, acpiCntl, acpiCntlOn, "b"},
	} {
		if err := s.config(w.device, w.register, w.value, w.width); err != nil {
			return fmt.Errorf("set up chipset: %w", err)
		}
	}
	if err := s.placeDevices(); err != nil {
		return fmt.Errorf("set up chipset: %w", err)
	}
	return nil
}

// placeDevices gives ports with GPUs and the virtio devices of bus 0 their
// addresses above 4 GiB, one behind the other, the largest first, as OVMF does.
// The tables depend on the first of them.
func (s *Session) placeDevices() error {
	next := uint64(Window64)
	for slot := uint32(firstSlot); slot < afterSlots; slot++ {
		class, err := s.readConfig(slot, classRevision)
		if err != nil {
			return err
		}
		if class>>16 != bridgeClass {
			continue
		}
		last := next + windowSize - 1
		for register, value := range map[uint32]uint32{
			windowLow:      uint32(last)&0xfff0_0000 | uint32(next)>>16&0xfff0,
			windowHigh:     uint32(next >> 32),
			windowHigh + 4: uint32(last >> 32),
		} {
			if err := s.config(slot, register, value, "l"); err != nil {
				return err
			}
		}
		if err := s.config(slot, command, commandMemory, "w"); err != nil {
			return err
		}
		next += windowSize
	}
	for slot := uint32(firstSlot); slot < afterSlots; slot++ {
		id, err := s.readConfig(slot, 0)
		if err != nil {
			return err
		}
		if id&0xffff != vendorVirtio {
			continue
		}
		bar, err := s.readConfig(slot, bar4)
		if err != nil {
			return err
		}
		if bar&0xf != memory64Prefetchable {
			return fmt.Errorf("device %d has %#x in BAR 4, want 64-bit memory", slot, bar)
		}
		for register, value := range map[uint32]uint32{bar4: uint32(next), bar4 + 4: uint32(next >> 32)} {
			if err := s.config(slot, register, value, "l"); err != nil {
				return err
			}
		}
		if err := s.config(slot, command, commandMemory, "w"); err != nil {
			return err
		}
		next += bar4Size
	}
	return nil
}
