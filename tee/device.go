// Package tee is the guest's side of a trusted execution environment: a small
// interface to measurement registers and quotes, and the choice of the
// implementation that fits the machine.
package tee

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/tee/snp"
	"github.com/secretvm/secretvm/tee/soft"
	"github.com/secretvm/secretvm/tee/tdx"
	"github.com/secretvm/secretvm/vm"
)

// Device is one trusted execution environment. Its methods may be called by
// several goroutines. It is there until the process ends.
type Device interface {
	// Kind says what the device is; vm.Soft means that nothing is confidential.
	Kind() vm.TEE
	// Extend folds the event's digest into the event's register, RTMR3. SNP has no
	// registers: there the fold is the guest's own, and in no quote.
	Extend(ctx context.Context, event vm.Event) error
	// Read returns the current registers.
	Read(ctx context.Context) (vm.Measurement, error)
	// Quote returns a quote over reportData, and the collateral to check it
	// where the device has it. Events are left empty: they are the caller's.
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// ErrNone is returned by Open on a machine without any TEE.
var ErrNone = errors.New("this machine has neither a TDX or SEV-SNP guest device nor a soft TEE port")

// Open returns the machine's TEE: TDX or SNP when the kernel has its guest
// device, else the soft TEE when the host has attached its port, else ErrNone. A
// host that hides the device gains nothing: quotes of the soft TEE are refused
// by every policy that does not name its development root.
func Open() (Device, error) {
	if _, err := os.Stat(tdx.GuestDevice); err == nil {
		return tdx.Open()
	}
	if _, err := os.Stat(snp.GuestDevice); err == nil {
		return snp.Open()
	}
	port, err := soft.FindPort()
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("open TEE: %w", err)
	}
	return soft.Open(port), nil
}
