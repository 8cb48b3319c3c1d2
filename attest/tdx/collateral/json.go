package collateral

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Bounds on a document, far above Intel's.
const (
	maxDepth  = 16  // of objects and arrays in each other
	maxFields = 32  // of one object
	maxLevels = 256 // of one list
)

// text reads JSON (RFC 8259) from front to back, once. It is stricter than
// encoding/json: names are compared as they are and may occur once per object,
// numbers are whole and small, and nothing follows the document. The first
// error stays; every method then returns zero.
type text struct {
	b     []byte
	at    int
	depth int
	names [][]byte // of the objects that are open
	err   error
}

func newText(b []byte) text { return text{b: b, names: make([][]byte, 0, 24)} }

func (r *text) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: "+format, append([]any{r.at}, args...)...)
		r.at = len(r.b)
	}
}

// peek skips white space and returns the next byte, or zero at the end.
func (r *text) peek() byte {
	for ; r.at < len(r.b); r.at++ {
		switch c := r.b[r.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (r *text) expect(c byte) bool {
	if r.err == nil && r.peek() == c {
		r.at++
		return true
	}
	r.fail("%q is missing", c)
	return false
}

// end checks that nothing follows.
func (r *text) end() error {
	if r.err == nil && r.peek() != 0 {
		r.fail("more than one document")
	}
	if r.err == nil && r.at < len(r.b) {
		r.fail("a zero byte")
	}
	return r.err
}

// group is an object or an array that is being read.
type group struct {
	closing byte
	names   int // where its names begin
	begun   bool
}

func (r *text) open(opening, closing byte) group {
	if r.depth++; r.depth > maxDepth {
		r.fail("more than %d levels of nesting", maxDepth)
	}
	r.expect(opening)
	return group{closing, len(r.names), false}
}

func (r *text) object() group { return r.open('{', '}') }
func (r *text) array() group  { return r.open('[', ']') }

// more reports whether g has another element, and takes what stands in front
// of it.
func (r *text) more(g *group) bool {
	if r.err != nil {
		return false
	}
	switch {
	case r.peek() == g.closing:
		r.at++
		r.depth--
		r.names = r.names[:g.names]
		return false
	case g.begun && !r.expect(','):
		return false
	}
	g.begun = true
	return true
}

// name takes the name of an object's next field.
func (r *text) name(g *group) []byte {
	name := r.quoted()
	r.expect(':')
	if r.err != nil {
		return nil
	}
	if bytes.IndexByte(name, '\\') >= 0 {
		r.fail("a name with an escape")
		return nil
	}
	for _, earlier := range r.names[g.names:] {
		if len(earlier) == len(name) && bytes.Equal(earlier, name) {
			r.fail("%.40q occurs twice", name)
			return nil
		}
	}
	if len(r.names)-g.names == maxFields {
		r.fail("more than %d fields", maxFields)
	}
	r.names = append(r.names, name)
	return name
}

// extent takes an object and returns its bytes, as far as its braces go.
func (r *text) extent() []byte {
	if r.peek() != '{' {
		r.fail("not an object")
		return nil
	}
	from, depth := r.at, 0
	for ; r.at < len(r.b) && r.err == nil; r.at++ {
		switch r.b[r.at] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				r.at++
				return r.b[from:r.at]
			}
		case '"':
			r.quoted()
			r.at--
		}
	}
	r.fail("an object does not end")
	return nil
}

// skip takes a value of any kind that this package does not use, with the
// same strictness.
func (r *text) skip() {
	switch r.peek() {
	case '{':
		for g := r.object(); r.more(&g); {
			r.name(&g)
			r.skip()
		}
	case '[':
		for g := r.array(); r.more(&g); {
			r.skip()
		}
	case '"':
		r.string()
	default:
		from := r.at
		for !r.ended() && r.at < len(r.b) && r.b[r.at] > ' ' {
			r.at++
		}
		if r.err == nil && !json.Valid(r.b[from:r.at]) {
			r.fail("not JSON")
		}
	}
}
