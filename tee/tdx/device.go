// Package tdx is the guest's side of Intel TDX, through what Linux offers since
// version 6.16: measurement registers in sysfs and quotes through configfs-tsm.
// It needs the modules tdx_guest and tsm_report, and configfs mounted at
// /sys/kernel/config.
//
// The package has not been run on TDX hardware. Its tests use a folder with
// plain files in place of sysfs and a software quote provider: they show that
// paths, sizes and errors are handled, not that a real module answers so.
package tdx

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/secretvm/secretvm/tee/tsm"
	"github.com/secretvm/secretvm/vm"
)

// GuestDevice exists exactly when the tdx_guest driver found a TDX module.
const GuestDevice = "/dev/tdx_guest"

// registers is the folder of the measurement registers
// (Documentation/ABI/testing/sysfs-devices-virtual-misc-tdx_guest in Linux).
const registers = "/sys/devices/virtual/misc/tdx_guest/measurements"

// provider is the name that the TDX guest driver has in configfs-tsm.
const provider = "tdx_guest"

// bootLog is the firmware's log of RTMR0 to RTMR2, from sysfs (Documentation/ABI/testing/sysfs-firmware-acpi
// in Linux): the area that the ACPI table CCEL points to.
const bootLog = "/sys/firmware/acpi/tables/data/CCEL"

// Device is the TDX module as the guest sees it.
type Device struct {
	registers string // folder of the registers' files, 48 raw bytes each
	bootLog   string // file of the boot log; need not exist
	quotes    tsm.Files
	mu        sync.Mutex // one extension, one quote at a time
}

// Open returns the machine's TDX device.
func Open() (*Device, error) {
	quotes, err := tsm.Open()
	if err != nil {
		return nil, fmt.Errorf("open TDX quote interface: %w", err)
	}
	return &Device{registers: registers, bootLog: bootLog, quotes: quotes}, nil
}

// Kind returns vm.TDX.
func (d *Device) Kind() vm.TEE { return vm.TDX }

// Extend folds the digest of event into its register: a write of 48 bytes to
// the register's file becomes TDG.MR.RTMR.EXTEND.
func (d *Device) Extend(ctx context.Context, event vm.Event) error {
	if err := event.CheckRuntime(); err != nil {
		return fmt.Errorf("extend TDX register: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("extend TDX register with event %q: %w", event.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := fmt.Sprintf("rtmr%d:sha384", event.Register)
	before, err := d.register(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.registers, name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("extend TDX register %s: %w", name, err)
	}
	_, err = f.Write(event.Digest[:])
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("extend TDX register %s with event %q: %w", name, event.Name, err)
	}
	after, err := d.register(name)
	if err != nil {
		return err
	}
	if after != before.Extend(event.Digest) {
		return fmt.Errorf("extend TDX register %s with event %q: the register reads %s afterwards", name, event.Name, after)
	}
	return nil
}

// Read returns the current registers.
func (d *Device) Read(context.Context) (vm.Measurement, error) {
	var m vm.Measurement
	files := map[string]*vm.Register{"mrtd:sha384": &m.MRTD, "mrconfigid": &m.MRConfigID}
	for i := range m.RTMR {
		files[fmt.Sprintf("rtmr%d:sha384", i)] = &m.RTMR[i]
	}
	for name, into := range files {
		value, err := d.register(name)
		if err != nil {
			return vm.Measurement{}, err
		}
		*into = value
	}
	return m, nil
}

func (d *Device) register(name string) (vm.Register, error) {
	content, err := os.ReadFile(filepath.Join(d.registers, name))
	if err != nil {
		return vm.Register{}, fmt.Errorf("read TDX register %s: %w", name, err)
	}
	if len(content) != len(vm.Register{}) {
		return vm.Register{}, fmt.Errorf("read TDX register %s: %d bytes, want %d", name, len(content), len(vm.Register{}))
	}
	return vm.Register(content), nil
}

// Quote returns the quote over reportData, and the firmware's boot log where
// the machine has one. It carries no collateral: a TDX guest
// has none of its own, so that the verifier or a relay must bring it.
func (d *Device) Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	quote, err := tsm.Ask(ctx, &d.mu, d.quotes, tsm.Request{Provider: provider, Data: reportData})
	switch {
	case err != nil:
		return vm.Evidence{}, fmt.Errorf("quote by TDX module: %w", err)
	case len(quote) == 0 || len(quote) > vm.MaxQuoteSize:
		return vm.Evidence{}, fmt.Errorf("quote by TDX module: quote has %d bytes, want 1 to %d", len(quote), vm.MaxQuoteSize)
	}
	return vm.Evidence{TEE: vm.TDX, Quote: quote, BootLog: d.log()}, nil
}

// log returns the boot log with little of the padding that fills its area, or
// nothing where the machine has none that evidence may carry. It explains
// registers and proves nothing by itself, so a machine without one is as
// genuine as any.
func (d *Device) log() []byte {
	const (
		largest = 4 << 20
		kept    = 4 << 10 // of the padding, for an event may end in bytes like it
	)
	f, err := os.Open(d.bootLog)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	area, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err != nil || len(area) == 0 || len(area) > largest {
		return nil
	}
	end, fill := len(area), area[len(area)-1]
	for end > 0 && area[end-1] == fill {
		end--
	}
	area = area[:min(len(area), end+kept)]
	if len(area) > vm.MaxBootLogSize {
		return nil
	}
	return area
}
