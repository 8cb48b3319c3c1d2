package workload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/guest/workload/order"
)

// Bounds on what is read of logs, in bytes: of one line, the rest of which is a
// line of its own, and of all containers together.
const (
	maxLine = 16 << 10
	maxLogs = 3 << 20 // a question's answer has to fit into a message
)

// Line is one line of a log.
type Line = order.Line

// Services lists the names of the project's containers, stopped ones too.
func (p *Project) Services(ctx context.Context) (names []string, err error) {
	list, err := p.engine.docker.containers(ctx, p.Name)
	for _, c := range list {
		names = append(names, c.name())
	}
	slices.Sort(names)
	return names, err
}

// Logs returns the last lines of the named container, of each where name is
// empty, that were written after since. They are in order per container.
func (p *Project) Logs(ctx context.Context, name string, lines int, since time.Time) (all []Line, err error) {
	list, err := p.engine.docker.containers(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if name != "" && name != c.name() {
			continue
		}
		some, err := p.engine.docker.logs(ctx, c.name(), lines, since, maxLogs/len(list))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func (c container) name() string {
	if len(c.Names) == 0 {
		return "unnamed"
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// logs reads one container's log; of more than limit bytes, the last.
func (d *docker) logs(ctx context.Context, name string, lines int, since time.Time, limit int) (out []Line, err error) {
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "timestamps": {"1"}, "tail": {fmt.Sprint(lines)}}
	if !since.IsZero() {
		query.Set("since", fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()+1))
	}
	body, err := d.get(ctx, apiVersion+"/containers/"+name+"/logs", query)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	reader := bufio.NewReader(body)
	var source io.Reader = reader
	if head, err := reader.Peek(frameHead); err == nil && isFrame(head) {
		source = &frames{from: reader}
	}
	text := bufio.NewReaderSize(source, maxLine)
	for size := 0; ; {
		line, err := text.ReadSlice('\n')
		if len(line) > 0 {
			out = append(out, parseLine(name, string(line)))
			for size += len(out[len(out)-1].Text); size > limit; out = out[1:] {
				size -= len(out[0].Text)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("read log of %s: %w", name, err)
		}
	}
}

// parseLine takes off the time that dockerd puts in front.
func parseLine(source, line string) Line {
	stamp, text, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil { // the rest of a long line
		text = line
	}
	return Line{Time: at, Source: source, Text: []byte(strings.TrimRight(text, "\r\n"))}
}

// A container without a terminal has its output in frames, of stdout and
// stderr in turn: one byte for the stream (0 to 2), three zero bytes, the length
// as a big-endian uint32 (Docker Engine API, "Attach to a container").
const frameHead = 8

func isFrame(head []byte) bool { return head[0] <= 2 && head[1] == 0 && head[2] == 0 && head[3] == 0 }

// frames reads what is in them.
type frames struct {
	from io.Reader
	left uint32
}

// Read implements io.Reader.
func (f *frames) Read(p []byte) (int, error) {
	for f.left == 0 {
		var head [frameHead]byte
		if _, err := io.ReadFull(f.from, head[:]); err != nil {
			return 0, err // io.EOF between frames
		}
		if !isFrame(head[:]) {
			return 0, errors.New("the engine's log is not in frames")
		}
		f.left = binary.BigEndian.Uint32(head[4:])
	}
	n, err := f.from.Read(p[:min(uint64(len(p)), uint64(f.left))])
	f.left -= uint32(n)
	return n, err
}
