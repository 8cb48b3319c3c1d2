package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
)

// Decompressor returns a deb.Decompressor that reads .xz with the set's own xz,
// which takes a third of the time of the Go implementation. Cancelling ctx ends it.
func (s *Set) Decompressor(ctx context.Context) deb.Decompressor {
	return func(name string, r io.Reader) (io.ReadCloser, error) {
		if path.Ext(name) != ".xz" {
			return deb.Decompress(name, r)
		}
		p := &process{command: s.Command(ctx, "xz", "--decompress", "--stdout")}
		p.command.Stdin, p.command.Stderr = r, &p.messages
		var err error
		if p.output, err = p.command.StdoutPipe(); err != nil {
			return nil, fmt.Errorf("decompress %s: %w", name, err)
		}
		if err := p.command.Start(); err != nil {
			return nil, fmt.Errorf("decompress %s: %w", name, err)
		}
		return p, nil
	}
}

// process is the output of a running program; its end is the program's end, and
// its failure an error.
type process struct {
	command  *exec.Cmd
	output   io.Reader
	messages bytes.Buffer
	end      error
}

func (p *process) Read(b []byte) (int, error) {
	if p.end != nil {
		return 0, p.end
	}
	n, err := p.output.Read(b)
	if err != nil {
		p.end = io.EOF
		if wait := p.command.Wait(); wait != nil {
			p.end = fmt.Errorf("xz: %w: %s", wait, strings.TrimSpace(p.messages.String()))
		} else if !errors.Is(err, io.EOF) {
			p.end = err
		}
		return n, p.end
	}
	return n, nil
}

// Close ends the program if it is still running; whoever closes early does not
// want to know how it ended.
func (p *process) Close() error {
	if p.end == nil {
		p.end = errors.New("read of a closed stream")
		_ = p.command.Process.Kill()
		_ = p.command.Wait()
	}
	return nil
}
