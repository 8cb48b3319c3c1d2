package clock

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Where the time comes from.
const (
	FromHost    = "host"    // and not before the image was made; no boot waits for better
	FromBlock   = "block"   // of the key manager's chain
	FromServers = "servers" // of the measured config, within the bounds of the block
)

// Status is what the attestation service tells about the clock.
type Status struct {
	Source   string     `json:"source"`              // FromHost, FromBlock or FromServers
	Block    *time.Time `json:"block,omitempty"`     // time of the block that granted this boot's keys
	MovedMS  int64      `json:"moved_ms,omitempty"`  // by how much the host's clock was wrong
	Answers  int        `json:"answers,omitempty"`   // of servers, that were within bounds
	Ignored  int        `json:"ignored,omitempty"`   // that were not
	Why      string     `json:"why,omitempty"`       // the last of those, or the last error
	Asked    *time.Time `json:"asked,omitempty"`     // when answers were last within bounds
	OffsetMS float64    `json:"offset_ms,omitempty"` // then, of the clock
	WithinMS int64      `json:"within_ms,omitempty"` // how wide the bounds are now
}

// Clock is the machine's clock. The zero value is the host's.
type Clock struct {
	mu     sync.Mutex
	bounds Bounds
	status Status
}

// AfterImage moves the clock to the time that a file of the image carries, if it
// is behind it: no machine boots an image that is not made yet. It returns by how
// much.
func (c *Clock) AfterImage(file string) (moved time.Duration, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, fmt.Errorf("find out when the image was made: %w", err)
	}
	if moved = time.Until(info.ModTime()); moved <= 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.MovedMS = moved.Milliseconds()
	return moved, set(info.ModTime())
}

// Hold holds the clock against the time of a block, moves it where it is wrong,
// and returns by how much.
func (c *Clock) Hold(b Bounds) (moved time.Duration, err error) {
	if !b.Known() {
		return 0, nil
	}
	now := time.Now()
	if moved = b.correction(now, now); moved != 0 {
		if err := set(now.Add(moved)); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	block := b.Block.UTC()
	c.bounds, c.status = b, Status{Source: FromBlock, Block: &block, MovedMS: c.status.MovedMS + moved.Milliseconds()}
	return moved, nil
}

// Status tells about the clock.
func (c *Clock) Status() *Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	if s.Source == "" {
		s.Source = FromHost
	}
	if c.bounds.Known() {
		earliest, latest := c.bounds.between(time.Now())
		s.WithinMS = (latest.Sub(earliest) + 2*leeway).Milliseconds()
	}
	return &s
}

// set sets the system's clock.
func set(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}
