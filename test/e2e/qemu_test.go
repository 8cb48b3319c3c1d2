//go:build e2e

package e2e

import (
	"context"
	"os"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/tools"
)

// lockedQEMU returns the emulator of the lock file, which `secretvm up` has
// unpacked before.
func lockedQEMU(ctx context.Context) (qemu.Binary, error) {
	locked, err := image.BaseLock()
	if err != nil {
		return qemu.Binary{}, err
	}
	cache, err := image.CacheDir()
	if err != nil {
		return qemu.Binary{}, err
	}
	packages, err := image.OpenPool(cache, "/etc/apt", os.Getenv(archive.MirrorsVariable), nil, func(string, ...any) {})
	if err != nil {
		return qemu.Binary{}, err
	}
	set, err := tools.Open(ctx, locked, packages, cache)
	if err != nil {
		return qemu.Binary{}, err
	}
	command := set.Command(ctx, "qemu-system-x86_64")
	return qemu.Binary{Argv: command.Args, Env: command.Env}, nil
}
