package peer

import (
	"encoding/binary"
	"errors"
)

var errCBOR = errors.New("not the CBOR of a measurement document")

// cbor reads the part of CBOR (RFC 8949) that measurement documents are
// written in: unsigned numbers, byte and text strings, arrays, and maps with
// text keys, all of definite length, shortest form, no key twice.
type cbor struct {
	b     []byte
	depth int
}

const maxDepth = 8

func parseCBOR(b []byte) (map[string]any, error) {
	c := &cbor{b: b}
	v, err := c.value()
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok || len(c.b) > 0 {
		return nil, errCBOR
	}
	return m, nil
}

// value returns uint64, []byte, string, []any or map[string]any.
func (c *cbor) value() (any, error) {
	kind, n, err := c.head()
	if err != nil {
		return nil, err
	}
	switch kind {
	case 0:
		return n, nil
	case 2, 3:
		if n > uint64(len(c.b)) {
			return nil, errCBOR
		}
		out := c.b[:n:n]
		c.b = c.b[n:]
		if kind == 3 {
			return string(out), nil
		}
		return out, nil
	case 4, 5:
		return c.members(kind == 5, n)
	}
	return nil, errCBOR
}

// members reads an array, or the pairs of a map.
func (c *cbor) members(pairs bool, n uint64) (any, error) {
	if c.depth++; c.depth > maxDepth || n > uint64(len(c.b)) {
		return nil, errCBOR
	}
	defer func() { c.depth-- }()
	var list []any
	dict := map[string]any{}
	for range n {
		v, err := c.value()
		if err != nil {
			return nil, err
		}
		if !pairs {
			list = append(list, v)
			continue
		}
		key, ok := v.(string)
		if _, twice := dict[key]; !ok || twice {
			return nil, errCBOR
		}
		if dict[key], err = c.value(); err != nil {
			return nil, err
		}
	}
	if pairs {
		return dict, nil
	}
	return list, nil
}

// head reads major type and argument, which must be in its shortest form.
func (c *cbor) head() (kind byte, n uint64, err error) {
	if len(c.b) == 0 {
		return 0, 0, errCBOR
	}
	kind, low := c.b[0]>>5, c.b[0]&31
	c.b = c.b[1:]
	if low < 24 {
		return kind, uint64(low), nil
	}
	size := map[byte]int{24: 1, 25: 2, 26: 4}[low] // no document has longer ones
	if size == 0 || len(c.b) < size {
		return 0, 0, errCBOR
	}
	var wide [8]byte
	copy(wide[8-size:], c.b[:size])
	n = binary.BigEndian.Uint64(wide[:])
	c.b = c.b[size:]
	if n < 24 || size == 2 && n < 1<<8 || size == 4 && n < 1<<16 {
		return 0, 0, errCBOR
	}
	return kind, n, nil
}
