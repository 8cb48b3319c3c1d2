package clock

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Answer is what one server was heard to say about the clock. A round of answers
// is a line with their JSON array.
type Answer struct {
	Server string        `json:"server"`
	Offset time.Duration `json:"offset_ns"` // of the server's clock from this one
	Error  string        `json:"error,omitempty"`
}

const (
	maxRound = 16 << 10               // bytes of a line
	maxSlew  = 500 * time.Millisecond // what the kernel lets go by and by, without a leap
)

// Follow corrects the clock by rounds of answers until r ends.
func (c *Clock) Follow(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRound)
	for lines.Scan() {
		var round []Answer
		if err := json.Unmarshal(lines.Bytes(), &round); err != nil {
			return fmt.Errorf("read answers of time servers: %w", err)
		}
		now := time.Now()
		if offset, ok := c.judge(round, now); ok {
			if err := move(offset, now); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// judge returns the median of the answers that are within bounds.
func (c *Clock) judge(round []Answer, now time.Time) (offset time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var good []time.Duration
	for _, a := range round {
		why := a.Error
		if why == "" {
			err := c.bounds.allows(now.Add(a.Offset), now)
			if err == nil {
				good = append(good, a.Offset)
				continue
			}
			c.status.Ignored++
			why = err.Error()
		}
		c.status.Why = fmt.Sprintf("%.100s: %.200s", a.Server, why)
	}
	if len(good) == 0 || !c.bounds.Known() {
		return 0, false
	}
	slices.Sort(good)
	offset = good[len(good)/2]
	asked := now.UTC().Truncate(time.Second)
	c.status.Source, c.status.Asked, c.status.Answers = FromServers, &asked, len(good)
	c.status.OffsetMS = float64(offset.Microseconds()) / 1000
	return offset, true
}

// move moves the clock slowly where that is possible.
func move(offset time.Duration, now time.Time) error {
	if offset.Abs() > maxSlew {
		return set(now.Add(offset))
	}
	const singleShot = 0x8001 // ADJ_OFFSET_SINGLESHOT of linux/timex.h: microseconds, once
	if _, err := unix.Adjtimex(&unix.Timex{Modes: singleShot, Offset: offset.Microseconds()}); err != nil {
		return fmt.Errorf("adjust the clock: %w", err)
	}
	return nil
}
