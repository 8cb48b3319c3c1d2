// Package snp is the guest's side of AMD SEV-SNP, through configfs-tsm, which
// Linux offers since version 6.7. It needs the modules sev_guest and tsm_report,
// and configfs mounted at /sys/kernel/config.
//
// SEV-SNP has no registers that a running machine extends. What its reports bind
// is fixed at launch: the launch digest, which has firmware, kernel, initramfs and
// command line in it, and HOST_DATA, the digest of the config
// (docs/decisions/0012-snp-events.md).
//
// The package has not been run on SNP hardware. Its tests play the kernel.
package snp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/secretvm/secretvm/tee/tsm"
	"github.com/secretvm/secretvm/vm"
)

// GuestDevice exists exactly when the sev_guest driver found AMD's firmware.
const GuestDevice = "/dev/sev-guest"

// shadow keeps what events fold to, 48 raw bytes, from stage 1 to stage 2: it
// lies in /run, which is memory of the guest.
const shadow = "/run/secretvm/snp-events"

// Device is AMD's firmware as the guest sees it.
type Device struct {
	shadow  string // file
	reports tsm.Files
	mu      sync.Mutex // one extension, one report at a time
	id      *vm.Register
}

// Open returns the machine's SNP device.
func Open() (*Device, error) {
	reports, err := tsm.Open()
	if err != nil {
		return nil, fmt.Errorf("open SNP report interface: %w", err)
	}
	return &Device{shadow: shadow, reports: reports}, nil
}

// Kind returns vm.SNP.
func (d *Device) Kind() vm.TEE { return vm.SNP }

// Extend folds the digest of event into a register in the guest's own memory, so
// that boot can check its list as everywhere. No report says anything of it.
func (d *Device) Extend(ctx context.Context, event vm.Event) error {
	if err := event.CheckRuntime(); err != nil {
		return fmt.Errorf("keep SNP event: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("keep SNP event %q: %w", event.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before, err := d.folded()
	if err != nil {
		return err
	}
	after := before.Extend(event.Digest)
	if err := os.MkdirAll(filepath.Dir(d.shadow), 0o700); err != nil {
		return fmt.Errorf("keep SNP event %q: %w", event.Name, err)
	}
	if err := os.WriteFile(d.shadow, after[:], 0o600); err != nil {
		return fmt.Errorf("keep SNP event %q: %w", event.Name, err)
	}
	return nil
}

// folded reads the shadow register; before the first event it is zero.
func (d *Device) folded() (r vm.Register, err error) {
	content, err := os.ReadFile(d.shadow)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return r, nil
	case err != nil:
		return r, fmt.Errorf("read SNP events: %w", err)
	case len(content) != len(r):
		return r, fmt.Errorf("read SNP events: %d bytes, want %d", len(content), len(r))
	}
	return vm.Register(content), nil
}

// Read returns what the machine has of a measurement: HOST_DATA as MR_CONFIG_ID,
// zero-padded, from a report that AMD's firmware made, and in RTMR3 what events
// folded to, by the guest's own account. The other registers are zero: SNP has
// none, and its launch digest is no register of a TD.
func (d *Device) Read(ctx context.Context) (m vm.Measurement, err error) {
	d.mu.Lock()
	id := d.id
	d.mu.Unlock()
	if id == nil { // it never changes: one report is enough
		blob, err := d.report(ctx, [64]byte{})
		if err != nil {
			return m, err
		}
		id = new(vm.Register)
		copy(id[:], blob[hostDataAt:hostDataAt+hostDataSize])
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id, m.MRConfigID = id, *id
	m.RTMR[vm.RuntimeRegister], err = d.folded()
	return m, err
}

// Quote returns the report over reportData. It carries no certificates: the
// verifier or a relay must bring AMD's.
func (d *Device) Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	blob, err := d.report(ctx, reportData)
	if err != nil {
		return vm.Evidence{}, err
	}
	return vm.Evidence{TEE: vm.SNP, Quote: blob}, nil
}

// report makes one report and checks that it is about what was asked.
func (d *Device) report(ctx context.Context, reportData [64]byte) ([]byte, error) {
	blob, err := tsm.Ask(ctx, &d.mu, d.reports, tsm.Request{Provider: provider, Level: level, Data: reportData})
	if err == nil {
		blob, err = check(blob, reportData)
	}
	if err != nil {
		return nil, fmt.Errorf("report by SNP firmware: %w", err)
	}
	return blob, nil
}
