package workload

import (
	"bytes"
	"strings"
	"sync"
)

// maxLog is how much of a daemon's output is kept, in bytes. It stays in
// memory: the console is the host's.
const maxLog = 64 << 10

// tailLog keeps the end of what is written to it.
type tailLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *tailLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.buf.Write(p)
	if over := l.buf.Len() - maxLog; over > 0 {
		l.buf.Next(over)
	}
	return n, err
}

// last returns the last line that is not empty.
func (l *tailLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lastLine(l.buf.Bytes())
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
