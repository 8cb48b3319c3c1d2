package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
)

// maxQMPLine bounds one message of QEMU, in bytes.
const maxQMPLine = 1 << 20

// QMP is a connection to a running QEMU (QEMU Machine Protocol, a JSON object
// a line). It is safe for concurrent use.
type QMP struct {
	conn   net.Conn
	execMu sync.Mutex // one command at a time
	answer chan qmpMessage
	events chan QMPEvent
	done   chan struct{}
	err    error // why reading ended; valid after done is closed
}

// QMPEvent is something that QEMU reports by itself, such as SHUTDOWN.
type QMPEvent struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data,omitempty"`
}

type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *qmpError       `json:"error"`
	QMPEvent
}

type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// DialQMP connects to the socket that a QEMU with working directory dir listens on.
func DialQMP(ctx context.Context, dir string) (*QMP, error) {
	// Through the folder's descriptor the path is short, whatever the folder's is.
	folder, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU: %w", err)
	}
	defer folder.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(folder.Fd()))+"/"+QMPSocket)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU in %s: %w", dir, err)
	}
	return NewQMP(ctx, conn)
}

// NewQMP greets the QEMU at the other end of conn and owns conn from then on.
func NewQMP(ctx context.Context, conn net.Conn) (*QMP, error) {
	q := &QMP{conn: conn, answer: make(chan qmpMessage, 1), events: make(chan QMPEvent, 64), done: make(chan struct{})}
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 4096), maxQMPLine)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	greeting, err := readMessage(lines)
	switch {
	case err == nil && greeting.Greeting == nil:
		err = errors.New("no greeting")
	case err != nil && ctx.Err() != nil:
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to QEMU: %w", err)
	}
	go q.read(lines)
	if err := q.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return q, nil
}

// Execute runs one command and decodes its answer into result unless that is nil.
// A context that ends closes the connection, since an answer would be left in it.
func (q *QMP) Execute(ctx context.Context, command string, arguments, result any) error {
	q.execMu.Lock()
	defer q.execMu.Unlock()
	stop := context.AfterFunc(ctx, func() { q.conn.Close() })
	defer stop()
	request, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return fmt.Errorf("QEMU command %s: %w", command, err)
	}
	if _, err := q.conn.Write(append(request, '\n')); err != nil {
		return fmt.Errorf("QEMU command %s: %w", command, firstError(ctx.Err(), err))
	}
	var m qmpMessage
	select {
	case m = <-q.answer:
	case <-q.done:
		select {
		case m = <-q.answer: // QEMU answered and left at once
		default:
			return fmt.Errorf("QEMU command %s: %w", command, firstError(ctx.Err(), q.err))
		}
	}
	if m.Error != nil {
		return fmt.Errorf("QEMU command %s: %s: %s", command, m.Error.Class, m.Error.Desc)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("QEMU command %s: decode its answer: %w", command, err)
	}
	return nil
}

// Events delivers what QEMU reports; it is closed when the connection ends.
// Events that nobody reads are dropped.
func (q *QMP) Events() <-chan QMPEvent { return q.events }

// Close ends the connection; QEMU runs on.
func (q *QMP) Close() error { return q.conn.Close() }

// PowerButton presses the ACPI power button: a request that the guest shut down.
func (q *QMP) PowerButton(ctx context.Context) error {
	return q.Execute(ctx, "system_powerdown", nil, nil)
}

// Status returns QEMU's word for the state of the machine, such as "running".
func (q *QMP) Status(ctx context.Context) (string, error) {
	var s struct {
		Status string `json:"status"`
	}
	err := q.Execute(ctx, "query-status", nil, &s)
	return s.Status, err
}

func (q *QMP) read(lines *bufio.Scanner) {
	defer close(q.events)
	defer close(q.done)
	for {
		m, err := readMessage(lines)
		switch {
		case err != nil:
			q.err = err
			return
		case m.Name != "":
			select {
			case q.events <- m.QMPEvent:
			default:
			}
		default:
			select {
			case q.answer <- m:
			default: // an answer to a command that nobody waits for
				q.err = errors.New("unexpected answer")
				q.conn.Close()
				return
			}
		}
	}
}

func readMessage(lines *bufio.Scanner) (qmpMessage, error) {
	var m qmpMessage
	if !lines.Scan() {
		return m, firstError(lines.Err(), io.EOF)
	}
	if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
		return m, fmt.Errorf("decode QEMU's message: %w", err)
	}
	return m, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
