package deb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLine bounds one line of a control file, in bytes.
const maxLine = 4 << 20

// Stanza is one paragraph of a control file (deb-control(5), Debian Policy
// 5.1): field names in lower case, continuation lines joined by newlines.
type Stanza map[string]string

// Stanzas reads the paragraphs of a control file, a Packages index for one.
type Stanzas struct {
	lines *bufio.Scanner
}

// NewStanzas reads from r.
func NewStanzas(r io.Reader) *Stanzas {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	return &Stanzas{lines: s}
}

// Next returns the next paragraph, or io.EOF after the last.
func (s *Stanzas) Next() (Stanza, error) {
	out := Stanza{}
	last := ""
	for s.lines.Scan() {
		line := s.lines.Text()
		switch {
		case strings.TrimSpace(line) == "":
			if len(out) > 0 {
				return out, nil
			}
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, errors.New("control file begins with a continuation line")
			}
			out[last] += "\n" + strings.TrimSpace(line)
		default:
			name, value, ok := strings.Cut(line, ":")
			name = strings.ToLower(name)
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return nil, fmt.Errorf("control file has the line %.60q, want Name: value", line)
			}
			if _, twice := out[name]; twice {
				return nil, fmt.Errorf("control file has the field %q twice in one paragraph", name)
			}
			out[name], last = strings.TrimSpace(value), name
		}
	}
	if err := s.lines.Err(); err != nil {
		return nil, fmt.Errorf("read control file: %w", err)
	}
	if len(out) == 0 {
		return nil, io.EOF
	}
	return out, nil
}
