package console

import "time"

// maxKept is how many of the last lines are remembered.
const maxKept = 1000

// Kept is a line that was written to the console.
type Kept struct {
	Time time.Time
	Text string
}

// Since returns the lines that were written after a moment, as far as they are
// remembered.
func (c *Console) Since(moment time.Time) (lines []Kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.kept {
		if l.Time.After(moment) {
			lines = append(lines, l)
		}
	}
	return lines
}

// keep remembers a line; the caller holds the lock.
func (c *Console) keep(text string) {
	c.kept = append(c.kept[max(0, len(c.kept)+1-maxKept):], Kept{time.Now(), text})
}
