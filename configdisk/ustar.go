package configdisk

import (
	"bytes"
	"errors"
	"fmt"
)

// The layout of POSIX.1-1988 "ustar" (IEEE Std 1003.1, pax, "ustar Interchange
// Format"). A reader that compares whole headers with the only header its
// writer makes has no fields left to misread: no links, no modes, no long
// names, no second spelling of a number.
const blockSize = 512

// ustarHeader returns the header of a regular file, mode 0444, owned by 0:0,
// of time 0.
func ustarHeader(name string, size int) [blockSize]byte {
	var h [blockSize]byte
	copy(h[0:100], name)
	copy(h[100:], "0000444\x00")                  // mode
	copy(h[108:], "0000000\x00")                  // uid
	copy(h[116:], "0000000\x00")                  // gid
	copy(h[124:], fmt.Sprintf("%011o\x00", size)) // size, octal
	copy(h[136:], "00000000000\x00")              // mtime
	copy(h[148:], "        ")                     // checksum counts as spaces
	h[156] = '0'                                  // regular file
	copy(h[257:], "ustar\x0000")                  // magic and version
	copy(h[329:], "0000000\x00")                  // devmajor
	copy(h[337:], "0000000\x00")                  // devminor
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// padding returns how many zero bytes fill the last block of size bytes.
func padding(size int) int { return (blockSize - size%blockSize) % blockSize }

// ustarReader takes entries off the front of rest.
type ustarReader struct{ rest []byte }

// at reports whether the next entry bears name.
func (r *ustarReader) at(name string) bool {
	return len(r.rest) > len(name) && string(r.rest[:len(name)]) == name && r.rest[len(name)] == 0
}

// next returns the contents of the next entry, which must bear name and have 1
// to limit bytes.
func (r *ustarReader) next(name string, limit int) ([]byte, error) {
	if len(r.rest) < blockSize {
		return nil, fmt.Errorf("%s is missing: the archive ends before it", name)
	}
	if !r.at(name) {
		return nil, fmt.Errorf("want %s, found %q", name, bytes.TrimRight(r.rest[:100], "\x00"))
	}
	size, err := parseOctal(r.rest[124:135])
	if err != nil {
		return nil, fmt.Errorf("%s: size: %w", name, err)
	}
	if err := checkEntry(name, size, limit); err != nil {
		return nil, err
	}
	if header := ustarHeader(name, size); !bytes.Equal(header[:], r.rest[:blockSize]) {
		return nil, fmt.Errorf("%s: the header is not the plain ustar header of a file of %d bytes", name, size)
	}
	body := r.rest[blockSize:]
	if len(body) < size+padding(size) {
		return nil, fmt.Errorf("%s is cut off after %d of %d bytes", name, min(len(body), size), size)
	}
	if !allZero(body[size : size+padding(size)]) {
		return nil, fmt.Errorf("%s: the padding is not zero", name)
	}
	r.rest = body[size+padding(size):]
	return body[:size:size], nil
}

// end accepts the two zero blocks that end an archive, and zeros after them.
func (r *ustarReader) end() error {
	if len(r.rest) < 2*blockSize {
		return errors.New("the archive ends without its two zero blocks")
	}
	if !allZero(r.rest) {
		return errTrailing
	}
	return nil
}

// parseOctal reads exactly eleven octal digits, at most 8 GiB.
func parseOctal(b []byte) (int, error) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '7' {
			return 0, fmt.Errorf("%q has characters other than octal digits", b)
		}
		n = n<<3 | int(c-'0')
	}
	return n, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
