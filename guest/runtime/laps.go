package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/disk/volume"
)

// laps collects what within a step took long enough to be mentioned.
type laps struct {
	last time.Time
	text string
}

func newLaps() *laps { return &laps{last: time.Now()} }

// lap ends one part of the step.
func (l *laps) lap(name string) {
	if took := time.Since(l.last); took >= 200*time.Millisecond {
		l.text += fmt.Sprintf(", %s %.1fs", name, took.Seconds())
	}
	l.last = time.Now()
}

// timedDisk tells how long the parts of opening a disk take.
type timedDisk struct {
	volume.System
	*laps
}

func (t timedDisk) Format(ctx context.Context, disk luks.Disk, key luks.Key) (*luks.VolumeKey, error) {
	t.lap("check")
	defer t.lap("header")
	return t.System.Format(ctx, disk, key)
}

func (t timedDisk) Activate(name, device string, size int64, key *luks.VolumeKey) (string, error) {
	t.lap("check")
	defer t.lap("activate")
	return t.System.Activate(name, device, size, key)
}

func (t timedDisk) MakeFileSystem(ctx context.Context, path string) error {
	defer t.lap("mkfs")
	return t.System.MakeFileSystem(ctx, path)
}

func (t timedDisk) Mount(path, target string) error {
	defer t.lap("mount")
	return t.System.Mount(path, target)
}
