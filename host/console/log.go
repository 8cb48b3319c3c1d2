package console

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds on what a guest can make the host keep.
const (
	maxLine   = 4096     // bytes of one line; longer ones are cut into several
	maxLog    = 16 << 20 // bytes written to the log file
	keepLines = 400      // recent lines kept in memory
)

// Log follows one console: it writes cleaned lines with the time since the
// start to a file, keeps the last ones, and delivers all of them to followers.
type Log struct {
	file    io.Writer
	start   time.Time
	written int

	mu     sync.Mutex
	recent []string
	lines  int // how many lines there were, recent ones included
	ended  bool
	more   chan struct{} // closed and replaced whenever something changes
}

// NewLog returns a Log whose clock starts now.
func NewLog(file io.Writer) *Log {
	return &Log{file: file, start: time.Now(), more: make(chan struct{})}
}

// ReadFrom follows r to its end; it is called once. Errors of the log file end
// the log, not the reading: a full disk must not block the guest.
func (l *Log) ReadFrom(r io.Reader) (n int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, _, err := in.ReadLine()
		n += int64(len(line))
		if err != nil {
			l.finish()
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			return n, fmt.Errorf("read console: %w", err)
		}
		if text := Clean(line); text != "" {
			l.add(text)
		}
	}
}

func (l *Log) add(text string) {
	if l.written < maxLog {
		n, err := fmt.Fprintf(l.file, "[%7.2f] %s\n", time.Since(l.start).Seconds(), text)
		l.written += n
		if err != nil {
			l.written = maxLog
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = append(l.recent, text)
	if len(l.recent) > 2*keepLines {
		l.recent = append(l.recent[:0], l.recent[len(l.recent)-keepLines:]...)
	}
	l.lines++
	close(l.more)
	l.more = make(chan struct{})
}

func (l *Log) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.more)
	l.more = make(chan struct{})
}

// Tail returns the last n lines at most.
func (l *Log) Tail(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.recent[max(0, len(l.recent)-n):]...)
}

// Reader delivers a console's lines from the first one on. A reader that falls
// behind by more than the kept lines loses the oldest.
type Reader struct {
	log  *Log
	next int
}

// Follow returns a new reader that begins at the first kept line.
func (l *Log) Follow() *Reader { return &Reader{log: l} }

// Next returns the next line, waiting for it until done is closed. It reports
// false when the console has ended and every line was delivered, or done is closed.
func (r *Reader) Next(done <-chan struct{}) (string, bool) {
	for {
		line, more, state := r.take()
		switch state {
		case ready:
			return line, true
		case over:
			return "", false
		}
		select {
		case <-more:
		case <-done:
			return "", false
		}
	}
}

type readState int

const (
	ready readState = iota
	waiting
	over
)

func (r *Reader) take() (string, <-chan struct{}, readState) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	r.next = max(r.next, l.lines-len(l.recent))
	switch {
	case r.next < l.lines:
		line := l.recent[len(l.recent)-(l.lines-r.next)]
		r.next++
		return line, nil, ready
	case l.ended:
		return "", nil, over
	default:
		return "", l.more, waiting
	}
}
