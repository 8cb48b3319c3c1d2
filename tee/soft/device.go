package soft

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// patience bounds a request whose context has no deadline of its own, so that a
// host that never answers cannot hold the caller for ever.
const patience = time.Minute

// maxStale bounds how many late answers to earlier requests are passed over.
const maxStale = 16

// Conn is the guest's end of the port: a byte stream with a deadline.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// Device is a soft TEE as the guest sees it. It may be used by several
// goroutines; requests are asked one after the other.
type Device struct {
	dial func(context.Context) (Conn, error)

	turn   chan struct{} // holds one token: whoever has it may use the fields below
	conn   Conn          // nil before the first request and after a failed one
	lastID uint64

	boot sync.Mutex
	log  *[]byte // of the boot, once the host was asked
}

// NewDevice makes a Device that reaches the host through dial. It dials at the
// first request, and again after a request that broke the stream or timed out.
func NewDevice(dial func(context.Context) (Conn, error)) *Device {
	// Starting at the clock keeps the ids of two users of one port apart, such
	// as guest-init and then guestd.
	d := &Device{dial: dial, turn: make(chan struct{}, 1), lastID: uint64(time.Now().UnixNano())}
	d.turn <- struct{}{}
	return d
}

// Kind returns vm.Soft.
func (d *Device) Kind() vm.TEE { return vm.Soft }

// Extend folds the digest of event into its register, which must be RTMR3.
func (d *Device) Extend(ctx context.Context, event vm.Event) error {
	if err := event.CheckRuntime(); err != nil {
		return fmt.Errorf("extend soft TEE: %w", err)
	}
	_, err := d.ask(ctx, Request{Op: OpExtend, Register: event.Register, Digest: &event.Digest})
	if err != nil {
		return fmt.Errorf("extend soft TEE with event %q: %w", event.Name, err)
	}
	return nil
}

// Read returns the current registers.
func (d *Device) Read(ctx context.Context) (vm.Measurement, error) {
	a, err := d.ask(ctx, Request{Op: OpRead})
	if err != nil {
		return vm.Measurement{}, fmt.Errorf("read registers of soft TEE: %w", err)
	}
	return *a.Measurement, nil
}

// Quote returns a quote over reportData, the collateral to check it and the boot
// log, where the host has one; without runtime events.
func (d *Device) Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	a, err := d.ask(ctx, Request{Op: OpQuote, ReportData: reportData[:]})
	if err != nil {
		return vm.Evidence{}, fmt.Errorf("quote by soft TEE: %w", err)
	}
	return vm.Evidence{TEE: vm.Soft, Quote: a.Quote, Collateral: a.Collateral, BootLog: d.bootLog(ctx)}, nil
}

// bootLog asks for the boot log once. It explains registers and proves nothing
// by itself: a host that has none, or does not know the question, is as good.
func (d *Device) bootLog(ctx context.Context) []byte {
	d.boot.Lock()
	defer d.boot.Unlock()
	if d.log == nil {
		a, err := d.ask(ctx, Request{Op: OpLog})
		if ctx.Err() != nil {
			return nil // not the host's answer: ask again next time
		}
		if err != nil {
			a.BootLog = nil
		}
		d.log = &a.BootLog
	}
	return *d.log
}

// ask waits for its turn, sends one request and waits for its answer.
func (d *Device) ask(ctx context.Context, request Request) (Answer, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	select {
	case <-d.turn:
		defer func() { d.turn <- struct{}{} }()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	if d.conn == nil {
		conn, err := d.dial(ctx)
		if err != nil {
			return Answer{}, err
		}
		d.conn = conn
	}
	d.lastID++
	request.ID = d.lastID
	answer, err := exchange(ctx, d.conn, request)
	if err != nil {
		// The stream may stop in the middle of a frame: begin anew next time.
		d.conn.Close()
		d.conn = nil
		return Answer{}, err
	}
	if answer.Error != "" {
		return Answer{}, fmt.Errorf("host answered: %.200q", answer.Error)
	}
	return answer, nil
}

// exchange is one request and its answer. Answers to earlier requests, which
// whoever asked them no longer waits for, are passed over.
func exchange(ctx context.Context, conn Conn, request Request) (Answer, error) {
	release := interrupt(ctx, conn)
	defer release()
	if err := WriteFrame(conn, request); err != nil {
		return Answer{}, because(ctx, err)
	}
	for range maxStale {
		payload, err := ReadFrame(conn)
		if err != nil {
			return Answer{}, because(ctx, noEOF(err))
		}
		answer, err := ParseAnswer(request.Op, payload)
		if answer.ID != 0 && answer.ID != request.ID {
			continue
		}
		return answer, err
	}
	return Answer{}, fmt.Errorf("host sent %d answers to other requests", maxStale)
}

// interrupt makes reads and writes on conn fail once ctx is done, until the
// returned function is called.
func interrupt(ctx context.Context, conn Conn) (release func()) {
	conn.SetDeadline(time.Time{})
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(time.Unix(1, 0))
		close(done)
	})
	return func() {
		if !stop() {
			<-done // else it could hit the next request
		}
	}
}

// because prefers the context's reason over the deadline error that it caused.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer from the host: %w", ctx.Err())
	}
	return err
}
