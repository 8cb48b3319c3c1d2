package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/secretvm/secretvm/disk/volume"
	"github.com/secretvm/secretvm/guest/blockdev"
	"github.com/secretvm/secretvm/guest/process"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

const (
	dataFolder   = "/data"
	diskPatience = 3 * time.Minute
	// checkedPatience is for a disk with integrity, all of which is written before
	// its first use.
	checkedPatience = 12 * time.Hour
	// advanceEvery bounds how much a host can roll back unseen (threat D4).
	advanceEvery    = time.Hour
	advancePatience = time.Minute
)

// openDisk opens the data disk with the granted key and tells the chain.
func (m *machine) openDisk(ctx context.Context) (remark string, err error) {
	cfg := m.handover.config.Disk
	laps := newLaps()
	if err := m.diskDrivers(ctx); err != nil {
		return "", err
	}
	laps.lap("drivers")
	device, err := blockdev.Find(ctx, blockdev.Data)
	if err != nil {
		return "", err
	}
	var v *volume.Volume
	patience := diskPatience
	if cfg.Integrity {
		patience = checkedPatience
	}
	err = within(ctx, patience, func(ctx context.Context) (err error) {
		v, err = m.openVolume(ctx, device, laps)
		return err
	})
	if err != nil {
		return "", err
	}
	m.stops.add("close the disk", 30*time.Second, func(context.Context) error {
		return errors.Join(unmountBelow(dataFolder), v.Close())
	})
	m.stops.add("end all processes", 10*time.Second, process.EndAll) // so that nothing holds the disk
	if cfg.Ephemeral {
		return "ephemeral, formatted" + laps.text, nil
	}
	what := "opened"
	if v.Formatted {
		what = "formatted"
	}
	if v.Grown {
		what += " and grown"
	}
	if v.Renewed {
		what += fmt.Sprintf(" and given the key of epoch %d", m.handover.config.KMS.Epoch)
	}
	if m.uncounted() {
		return what + ", by a key manager that counts no generations" + laps.text, nil
	}
	g := &generations{volume: v, session: m.session}
	if err := g.first(ctx); err != nil {
		return "", err
	}
	laps.lap("generation")
	go g.hourly(ctx, m.out.Note)
	m.stops.add("advance the disk's generation", 5*time.Second, g.last)
	return fmt.Sprintf("%s, generation %d%s", what, v.Generation, laps.text), nil
}

func (m *machine) openVolume(ctx context.Context, device string, laps *laps) (*volume.Volume, error) {
	o := volume.Options{
		Device: device, MountPoint: dataFolder, Generation: m.session.Generation(), Uncounted: m.uncounted(),
		Integrity: m.handover.config.Disk.Integrity, Lap: laps.lap,
		System: volume.Linux{
			Run: m.commands, Cryptsetup: "/usr/sbin/cryptsetup", MakeExt4: "/usr/sbin/mkfs.ext4",
			Progress: m.diskProgress(),
		},
	}
	if m.handover.config.Disk.Ephemeral {
		return volume.OpenEphemeral(ctx, o)
	}
	keys, err := m.session.DiskKeys()
	if err != nil {
		return nil, err
	}
	defer wipe(keys)
	o.Key, o.Older = keys[0], keys[1:]
	defer clear(o.Key[:])
	return volume.Open(ctx, o)
}

// diskProgress tells the console now and then how much of a disk is written that
// is used for the first time.
func (m *machine) diskProgress() func(percent int) {
	said := 0
	return func(percent int) {
		if percent >= said+10 {
			said = percent
			m.out.Note(fmt.Sprintf("disk: %d %% written, for its first use with integrity", percent))
		}
	}
}

// uncounted reports whether the measured config chooses a key manager that does
// not count generations.
func (m *machine) uncounted() bool {
	return m.handover.config.KMS.Provider == vm.ProviderSecretNetwork
}

// diskDrivers waits until the disk's drivers are there, which are loaded long
// before those that only containers need.
func (m *machine) diskDrivers(ctx context.Context) error {
	for {
		if loaded("dm_crypt") && loaded("ext4") && (!m.handover.config.Disk.Integrity || loaded("dm_integrity")) {
			return nil
		}
		select {
		case <-m.modules.done:
			return nil // built in, or missing, which opening the disk will say
		case <-ctx.Done():
			return errStopped
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func loaded(module string) bool {
	state, err := os.ReadFile("/sys/module/" + module + "/initstate")
	return err == nil && strings.TrimSpace(string(state)) == "live"
}

// generations keeps disk and chain in step. The disk is never more than one
// ahead of what the chain has confirmed: two steps ahead, it would be refused
// at the next boot.
type generations struct {
	volume  interface{ SetGeneration(n uint64) error }
	session interface {
		Generation() uint64
		Advance(ctx context.Context, n uint64, wait bool) error
	}

	mu        sync.Mutex
	written   uint64
	confirmed uint64
}

// first writes G+1 and waits until the chain has it: only then may a workload
// write to the disk (see package volume).
func (g *generations) first(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.confirmed = g.session.Generation()
	err := g.advance(ctx, true)
	switch {
	case err != nil && ctx.Err() != nil:
		return errStopped
	case err != nil:
		return refusal(err)
	}
	return nil
}

// advance moves on by one, or repeats the last step that was not confirmed.
func (g *generations) advance(ctx context.Context, wait bool) error {
	if g.written <= g.confirmed {
		if err := g.volume.SetGeneration(g.confirmed + 1); err != nil {
			return err
		}
		g.written = g.confirmed + 1
	}
	if err := g.session.Advance(ctx, g.written, wait); err != nil {
		return err
	}
	g.confirmed = g.written
	return nil
}

// hourly advances until ctx ends. A failure only delays it.
func (g *generations) hourly(ctx context.Context, note func(string)) {
	for step.Pause(ctx, advanceEvery) == nil {
		attempt, cancel := context.WithTimeout(ctx, advancePatience)
		if err := g.last(attempt); err != nil {
			note(fmt.Sprintf("advance the disk's generation: %v", err))
		}
		cancel()
	}
}

// last advances once.
func (g *generations) last(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.advance(ctx, false)
}
