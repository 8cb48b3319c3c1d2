//go:build faults

package faults

import (
	"net"
	"sync"
	"testing"
	"time"
)

// line carries the connections between two nodes. It can be held, as when
// packets are lost on the way: nothing arrives, nobody is told, and what was sent
// arrives when it is let go. It can be cut: connections break and no new one is
// made. And it can be slow.
type line struct {
	mu    sync.Mutex
	held  chan struct{} // closed when nothing is held; never nil
	cut   bool
	delay time.Duration
	rate  int // bytes a second each way; 0: no bound
	open  map[net.Conn]bool
}

func newLine() *line {
	free := make(chan struct{})
	close(free)
	return &line{held: free, open: map[net.Conn]bool{}}
}

// listen accepts connections for target until the test ends.
func (l *line) listen(t *testing.T, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() {
		_ = listener.Close()
		l.sever()
	})
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(in, target)
		}
	}()
	return listener.Addr().String()
}

// carry joins a connection with one to target.
func (l *line) carry(in net.Conn, target string) {
	<-l.gate()
	out, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil || !l.enter(in, out) {
		_ = in.Close()
		if err == nil {
			_ = out.Close()
		}
		return
	}
	go l.pump(in, out)
	l.pump(out, in)
	l.mu.Lock()
	delete(l.open, in)
	delete(l.open, out)
	l.mu.Unlock()
}

func (l *line) enter(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if !l.cut {
			l.open[c] = true
		}
	}
	return !l.cut
}

func (l *line) gate() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// piece is on its way, and arrives when it is due.
type piece struct {
	bytes []byte
	due   time.Time
}

// pump carries one direction.
func (l *line) pump(from, to net.Conn) {
	way := make(chan piece, 1024)
	go func() {
		defer close(way)
		var free time.Time // when the line has sent all before
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				l.mu.Lock()
				delay, rate := l.delay, l.rate
				l.mu.Unlock()
				now := time.Now()
				if free.Before(now) {
					free = now
				}
				if rate > 0 {
					free = free.Add(time.Duration(n) * time.Second / time.Duration(rate))
				}
				way <- piece{buf[:n], free.Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		<-l.gate()
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	for range way { // what nobody gets any more
	}
}

// hold stops what is on its way.
func (l *line) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = make(chan struct{})
}

// sever breaks the connections and refuses new ones.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.open {
		_ = c.Close()
	}
	clear(l.open)
}

// slow makes the line long and narrow.
func (l *line) slow(delay time.Duration, rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay, l.rate = delay, rate
}

// mend makes the line what it was.
func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.held:
	default:
		close(l.held)
	}
	l.cut, l.delay, l.rate = false, 0, 0
}
