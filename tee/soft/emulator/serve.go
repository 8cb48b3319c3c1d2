package emulator

import (
	"context"
	"fmt"
	"net"

	"github.com/secretvm/secretvm/tee/soft"
)

// Serve answers on the connections that l accepts, one at a time, until ctx
// ends. QEMU is the client: it connects when the machine starts, and again
// when the connection breaks; the registers stay, as they belong to the boot
// and not to the connection.
func (m *Machine) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept connection of soft TEE: %w", err)
		}
		m.ServeConn(ctx, conn)
	}
}

// ServeConn answers on one connection until it ends or ctx does, and closes it.
// What broke the conversation is not reported: QEMU connects again, and the
// guest sees its own request fail.
func (m *Machine) ServeConn(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	_ = soft.Serve(conn, m.Answer)
}

// Answer is the answer to one request, which soft.ParseRequest has checked.
func (m *Machine) Answer(r soft.Request) soft.Answer {
	switch r.Op {
	case soft.OpExtend:
		after, err := m.Extend(r.Register, *r.Digest)
		if err != nil {
			return soft.Answer{Error: err.Error()}
		}
		return soft.Answer{Measurement: &after}
	case soft.OpRead:
		now := m.Read()
		return soft.Answer{Measurement: &now}
	case soft.OpQuote:
		evidence, err := m.Quote([64]byte(r.ReportData))
		if err != nil {
			return soft.Answer{Error: err.Error()}
		}
		return soft.Answer{Quote: evidence.Quote, Collateral: evidence.Collateral}
	case soft.OpLog:
		return soft.Answer{BootLog: m.BootLog}
	default:
		return soft.Answer{Error: "unknown operation"}
	}
}
