package attestd

import (
	"net"
	"sync"
)

// limitConnections returns a listener that holds at most n connections open;
// the next one waits in the kernel's backlog. admit is called for each and may
// wait; what it returns is called when the connection is closed.
func limitConnections(l net.Listener, n int, admit func() (ended func())) net.Listener {
	return &limitedListener{Listener: l, admit: admit, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	admit  func() (ended func())
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	ended := l.admit()
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { ended(); <-l.slots })}, nil
}

func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
