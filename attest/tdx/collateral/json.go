package collateral

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
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

// quoted takes a string and returns what stands between the quotation marks.
func (r *text) quoted() []byte {
	if !r.expect('"') {
		return nil
	}
	from, ascii := r.at, true
	for ; r.at < len(r.b); r.at++ {
		switch c := r.b[r.at]; {
		case c == '"':
			s := r.b[from:r.at]
			r.at++
			if !ascii && !utf8.Valid(s) {
				r.fail("a string that is not UTF-8")
			}
			return s
		case c == '\\':
			r.at++ // whatever is escaped does not end the string
		case c < 0x20:
			r.fail("a control character in a string")
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.fail("a string does not end")
	return nil
}

// string takes a string. Words that occur often are not copied.
func (r *text) string() string {
	s := r.quoted()
	if bytes.IndexByte(s, '\\') >= 0 {
		var unescaped string
		if err := json.Unmarshal(r.b[r.at-len(s)-2:r.at], &unescaped); err != nil {
			r.fail("a string with a bad escape")
		}
		return unescaped
	}
	switch string(s) {
	case "BIOS":
		return "BIOS"
	case "OS/VMM":
		return "OS/VMM"
	case string(UpToDate):
		return string(UpToDate)
	case string(OutOfDate):
		return string(OutOfDate)
	}
	return string(s)
}

// hex takes a string of hexadecimal digits of either case: Intel's services
// differ. The result has size bytes.
func (r *text) hex(size int) Hex {
	s := r.quoted()
	if r.err != nil {
		return nil
	}
	h := make(Hex, size)
	if len(s) != 2*size {
		r.fail("%d hexadecimal digits, want %d", len(s), 2*size)
	} else if _, err := hex.Decode(h, s); err != nil {
		r.fail("a string that is not hexadecimal")
	}
	return h
}

// int takes a whole number of 0 to limit, in its shortest form.
func (r *text) int(limit int) (n int) {
	r.peek()
	from := r.at
	for ; r.at < len(r.b) && '0' <= r.b[r.at] && r.b[r.at] <= '9'; r.at++ {
		if n = n*10 + int(r.b[r.at]-'0'); n > limit {
			r.fail("a number above %d", limit)
			return 0
		}
	}
	if r.err == nil && (r.at == from || (r.b[from] == '0' && r.at > from+1) || !r.ended()) {
		r.fail("not a whole number")
		return 0
	}
	return n
}

// ended reports whether a number or a word ends here.
func (r *text) ended() bool {
	switch r.peek() {
	case 0, ',', ']', '}':
		return true
	}
	return false
}

// time takes a time in the form of RFC 3339.
func (r *text) time() time.Time {
	s := r.quoted()
	if r.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, string(s))
	if err != nil {
		r.fail("%.40q is not a time", s)
	}
	return t
}

// strings takes an array of strings.
func (r *text) strings() (list []string) {
	for g := r.array(); r.more(&g); {
		if len(list) == maxLevels {
			r.fail("more than %d entries", maxLevels)
			break
		}
		list = append(list, r.string())
	}
	return list
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
