package attestd

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestA6_ConnectionsAreLimited: one connection too many waits until another
// ends, and a listener that waits can still be closed.
func TestA6_ConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Int32
	l := limitConnections(inner, 2, func() func() {
		open.Add(1)
		return func() { open.Add(-1) }
	})
	type accepted struct {
		conn net.Conn
		err  error
	}
	conns := make(chan accepted)
	go func() {
		for {
			c, err := l.Accept()
			conns <- accepted{c, err}
			if err != nil {
				return
			}
		}
	}()
	for range 4 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-conns, <-conns
	select {
	case third := <-conns:
		t.Fatalf("a third connection was accepted: %+v", third)
	case <-time.After(50 * time.Millisecond):
	}
	first.conn.Close()
	first.conn.Close() // closing twice frees one place, not two
	third := <-conns
	if third.err != nil {
		t.Fatal(third.err)
	}
	select {
	case fourth := <-conns:
		t.Fatalf("a third connection was accepted beside two: %+v", fourth)
	case <-time.After(50 * time.Millisecond):
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if last := <-conns; !errors.Is(last.err, net.ErrClosed) {
		t.Errorf("Accept on a closed listener: %v", last.err)
	}
	second.conn.Close()
	third.conn.Close()
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections count as open after all were closed", n)
	}
}
