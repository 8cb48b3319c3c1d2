// Package clock holds a machine's clock against times that its host does not
// choose. At power-on the clock is what the host says. It is moved forward to the
// time at which the image was made, and once there are keys to the time of the
// block that granted them, on which a threshold of the key manager's nodes agree.
// From then on the processor counts: in a TEE its counter is not the host's, and
// may drift. Servers of the measured config correct the drift, within bounds that
// follow from the block: their answers come through the host.
//
// The servers are asked by a process of its own (cmd/guest-ntp), which knows
// nothing and may do nothing. What it says is judged here.
package clock

import (
	"fmt"
	"time"
)

const (
	// tolerance is how far behind the block's time the clock may be without being
	// moved, and what Bounds allows beyond what it knows: nodes keep their clocks no
	// better, and a block names the time at which the one before it was signed.
	tolerance = 5 * time.Second
	// leeway is how far from the block's time, and what has passed since, the clock
	// and an answer of a server may be.
	leeway = time.Minute
	// drift is how much further for each unit of time that has passed: what the
	// processor's counter may be off by.
	driftPerMillion = 100
)

// Bounds is what is known of the time from elsewhere than the host: that the
// block's was between two moments of this machine, whose monotonic readings count.
// The zero value knows nothing.
type Bounds struct {
	Block          time.Time
	Offered, Heard time.Time
}

// Known reports whether there is a block.
func (b Bounds) Known() bool { return !b.Block.IsZero() }

// between returns what the time cannot be before, and cannot be after.
func (b Bounds) between(now time.Time) (earliest, latest time.Time) {
	least, most := now.Sub(b.Heard), now.Sub(b.Offered)
	return b.Block.Add(least - slip(least)), b.Block.Add(most + slip(most))
}

func slip(passed time.Duration) time.Duration { return passed / 1_000_000 * driftPerMillion }

// allows refuses a time that cannot be.
func (b Bounds) allows(t, now time.Time) error {
	earliest, latest := b.between(now)
	switch {
	case t.Before(earliest.Add(-leeway)):
		return fmt.Errorf("%s behind what the key manager's chain says", earliest.Sub(t).Round(time.Second))
	case t.After(latest.Add(leeway)):
		return fmt.Errorf("%s ahead of what the key manager's chain says", t.Sub(latest).Round(time.Second))
	}
	return nil
}

// correction returns by how much the clock, which shows wall at the moment now,
// must be moved; 0 if it may be right. What is behind the block is wrong at once;
// what is ahead of it may be a block that was long in coming.
func (b Bounds) correction(wall, now time.Time) time.Duration {
	earliest, latest := b.between(now)
	if wall.Before(earliest.Add(-tolerance)) || wall.After(latest.Add(leeway)) {
		return earliest.Sub(wall)
	}
	return 0
}
