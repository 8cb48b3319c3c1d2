package qtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secretvm/secretvm/host/qemu"
)

// maxLine bounds one answer, in bytes: etc/acpi/tables in hex and more.
const maxLine = 1 << 20

// Session is a paused QEMU. It is not safe for concurrent use.
type Session struct {
	command *exec.Cmd
	to      io.WriteCloser
	from    *bufio.Reader
	said    bytes.Buffer // what QEMU complains about
}

// Start starts QEMU for the machine of the given arguments. It ends with Close
// or with ctx.
func Start(ctx context.Context, binary qemu.Binary, arguments []string) (*Session, error) {
	return start(ctx, binary, []string{"-accel", "qtest", "-S", "-qtest", "stdio", "-qtest-log", "none"}, arguments)
}

// start starts QEMU with the test protocol as the first arguments have it.
func start(ctx context.Context, binary qemu.Binary, protocol, arguments []string) (*Session, error) {
	argv := slices.Concat(binary.Argv, protocol, arguments)
	s := &Session{command: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	s.command.Env = append(s.command.Environ(), binary.Env...)
	s.command.Stderr = &s.said
	s.command.WaitDelay = time.Second
	var err error
	if s.to, err = s.command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start paused QEMU: %w", err)
	}
	from, err := s.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start paused QEMU: %w", err)
	}
	s.from = bufio.NewReaderSize(from, maxLine)
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start paused QEMU: %w", err)
	}
	return s, nil
}

// Close ends QEMU.
func (s *Session) Close() {
	s.to.Close()
	_ = s.command.Process.Kill() // it may have ended by itself
	_ = s.command.Wait()         // killed: always an error
}

// do sends one command and returns what stands behind OK in the answer.
func (s *Session) do(format string, args ...any) (string, error) {
	line := fmt.Sprintf(format, args...)
	if _, err := io.WriteString(s.to, line+"\n"); err != nil {
		return "", s.ended(err)
	}
	answer, err := s.from.ReadSlice('\n')
	if err != nil {
		return "", s.ended(err)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(string(answer)), "OK")
	if !ok {
		return "", fmt.Errorf("paused QEMU answers %.80q to %.40q", answer, line)
	}
	return strings.TrimSpace(rest), nil
}

// ended says why QEMU no longer answers: what it printed, where it did.
func (s *Session) ended(err error) error {
	s.Close()
	if said := strings.TrimSpace(s.said.String()); said != "" {
		lines := strings.Split(said, "\n")
		return errors.New("paused QEMU ended: " + lines[len(lines)-1])
	}
	return fmt.Errorf("paused QEMU ended: %w", err)
}

// out writes a port; width is b, w or l: 1, 2 or 4 bytes.
func (s *Session) out(width string, port uint16, value uint32) error {
	_, err := s.do("out%s %#x %#x", width, port, value)
	return err
}

// in reads four bytes of a port.
func (s *Session) in(port uint16) (uint32, error) {
	answer, err := s.do("inl %#x", port)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(answer, "0x"), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("paused QEMU answers %.80q, want a number", answer)
	}
	return uint32(v), nil
}

// read returns size bytes of the guest's memory.
func (s *Session) read(at uint64, size int) ([]byte, error) {
	answer, err := s.do("read %#x %d", at, size)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(strings.TrimPrefix(answer, "0x"))
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("paused QEMU answers %d bytes of memory, want %d", len(b), size)
	}
	return b, nil
}

// write writes the guest's memory.
func (s *Session) write(at uint64, b []byte) error {
	_, err := s.do("write %#x %d 0x%x", at, len(b), b)
	return err
}
