package deb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The ar container of a .deb (deb(5), ar(5)): a magic line, then members, each
// a header of 60 ASCII bytes and its data, padded to an even offset.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	arNameEnd    = 16 // name, padded with blanks
	arSizeStart  = 48 // decimal size, padded with blanks
	arSizeEnd    = 58
	arTrailer    = "`\n"
)

// arReader walks the members of an ar archive.
type arReader struct {
	r    io.Reader
	left int64 // unread bytes of the current member, padding included
	pad  int64
}

func newArReader(r io.Reader) (*arReader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, fmt.Errorf("read ar magic: %w", err)
	}
	if string(magic) != arMagic {
		return nil, fmt.Errorf("not an ar archive: begins with %q", magic)
	}
	return &arReader{r: r}, nil
}

// next moves to the next member and returns its name and data; io.EOF ends the
// archive.
func (a *arReader) next() (name string, data io.Reader, err error) {
	if _, err := io.CopyN(io.Discard, a.r, a.left+a.pad); err != nil && !(errors.Is(err, io.EOF) && a.left == 0) {
		return "", nil, fmt.Errorf("skip ar member: %w", err)
	}
	header := make([]byte, arHeaderSize)
	n, err := io.ReadFull(a.r, header)
	if n == 0 && errors.Is(err, io.EOF) {
		return "", nil, io.EOF
	}
	if err != nil {
		return "", nil, fmt.Errorf("read ar header: %w", err)
	}
	if !bytes.HasSuffix(header, []byte(arTrailer)) {
		return "", nil, errors.New("ar header has a wrong trailer")
	}
	field := strings.TrimRight(string(header[arSizeStart:arSizeEnd]), " ")
	size, err := strconv.ParseInt(field, 10, 64)
	if err != nil || size < 0 {
		return "", nil, fmt.Errorf("ar header has the size %q", field)
	}
	a.left, a.pad = size, size%2
	// Debian writes bare names; GNU ar would end them with a slash.
	name = strings.TrimSuffix(strings.TrimRight(string(header[:arNameEnd]), " "), "/")
	return name, (*arMember)(a), nil
}

// arMember reads the current member of an arReader.
type arMember arReader

func (m *arMember) Read(b []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	if int64(len(b)) > m.left {
		b = b[:m.left]
	}
	n, err := m.r.Read(b)
	m.left -= int64(n)
	if errors.Is(err, io.EOF) && m.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
