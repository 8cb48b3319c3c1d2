package collateral

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"
	"unicode/utf8"
)

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
