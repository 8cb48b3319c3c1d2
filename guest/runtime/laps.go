package runtime

import (
	"fmt"
	"time"
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
