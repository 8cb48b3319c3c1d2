package initramfs

import (
	"context"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// checkWorkload compares the raw bytes of the workload with the digests in the
// config.
func (b *boot) checkWorkload(context.Context) (string, error) { return "", b.archive.Check(b.config) }

// checkBinding compares the config with MR_CONFIG_ID, which was fixed before
// the first instruction of the guest ran.
func (b *boot) checkBinding(ctx context.Context) (string, error) {
	want, err := b.config.ConfigID()
	if err != nil {
		return "", err
	}
	m, err := b.device.Read(ctx)
	if err != nil {
		return "", err
	}
	if m.MRConfigID != want {
		return "", vm.Refuse(vm.CodeConfig, "the config is not the one that the machine was launched with").
			On("MR_CONFIG_ID", m.MRConfigID.String(), want.String())
	}
	return "", nil
}

// checkDev lets an image for development boot only under a config that says what
// it is, and no other image under that one: whoever sees the config need not know
// the image.
func (b *boot) checkDev(image bool) error {
	if image == b.config.Dev {
		return nil
	}
	return vm.Refuse(vm.CodeDevImage, "image and config do not agree about being for development").
		On("dev", fmt.Sprint(b.config.Dev), fmt.Sprint(image))
}

// extendEvents records the boot events and then looks at the register: a TEE
// that swallowed an event must not get as far as asking for keys.
func (b *boot) extendEvents(ctx context.Context) (string, error) {
	events, err := vm.BootEvents(b.verity.RootHash, b.config)
	if err != nil {
		return "", err
	}
	for _, e := range events {
		if err := b.device.Extend(ctx, e); err != nil {
			return "", err
		}
	}
	want, err := vm.Replay(events)
	if err != nil {
		return "", err
	}
	m, err := b.device.Read(ctx)
	if err != nil {
		return "", err
	}
	if found := m.RTMR[vm.RuntimeRegister]; found != want[vm.RuntimeRegister] {
		return "", fmt.Errorf("RTMR%d is %s after %d events, want %s", vm.RuntimeRegister, found, len(events), want[vm.RuntimeRegister])
	}
	b.events = events
	return fmt.Sprintf("%d events", len(events)), nil
}
