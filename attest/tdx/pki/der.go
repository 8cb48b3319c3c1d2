package pki

import "time"

// Tags of the ASN.1 types in these documents (X.690).
const (
	tagBoolean         = 0x01
	tagInteger         = 0x02
	tagBitString       = 0x03
	tagOctetString     = 0x04
	tagObjectID        = 0x06
	tagEnumerated      = 0x0a
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSequence        = 0x30
	tagExtensions      = 0xa0 // [0], constructed
)

// der reads DER from front to back, without copies. Whatever is not in the one
// shortest form that DER allows is an error; so are tags of several bytes,
// which this PKI does not use.
type der []byte

// next takes one element and returns its tag, its content and all its bytes.
func (d *der) next() (tag byte, content, all []byte, ok bool) {
	b := *d
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	head, size := 2, int(b[1])
	if size >= 0x80 {
		n := size & 0x7f
		if n == 0 || n > 3 || len(b) < 2+n || b[2] == 0 {
			return 0, nil, nil, false
		}
		size = 0
		for _, c := range b[2 : 2+n] {
			size = size<<8 | int(c)
		}
		if size < 0x80 {
			return 0, nil, nil, false
		}
		head += n
	}
	if size > len(b)-head {
		return 0, nil, nil, false
	}
	*d = b[head+size:]
	return b[0], b[head : head+size], b[:head+size], true
}

// take takes one element of the given tag and returns its content.
func (d *der) take(tag byte) (content []byte, ok bool) {
	rest := *d
	found, content, _, ok := rest.next()
	if !ok || found != tag {
		return nil, false
	}
	*d = rest
	return content, true
}

// takeOnly returns the content of the one element that b consists of.
func takeOnly(b []byte, tag byte) (content der, ok bool) {
	d := der(b)
	content, ok = d.take(tag)
	return content, ok && len(d) == 0
}

// at reports whether the next element has the given tag.
func (d der) at(tag byte) bool { return len(d) > 0 && d[0] == tag }

// minimalInteger reports whether content is an INTEGER in its shortest form.
func minimalInteger(content []byte) bool {
	switch {
	case len(content) == 0:
		return false
	case len(content) == 1:
		return true
	case content[0] == 0:
		return content[1] >= 0x80
	case content[0] == 0xff:
		return content[1] < 0x80
	}
	return true
}

// timeForm reports whether content has the form of a time of the given tag.
func timeForm(tag byte, content []byte) bool {
	digits := len("060102150405")
	if tag == tagGeneralizedTime {
		digits = len("20060102150405")
	} else if tag != tagUTCTime {
		return false
	}
	if len(content) != digits+1 || content[digits] != 'Z' {
		return false
	}
	for _, c := range content[:digits] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// time takes a UTCTime or a GeneralizedTime in the forms that RFC 5280 allows.
func (d *der) time() (t time.Time, ok bool) {
	tag, content, _, ok := d.next()
	if !ok || !timeForm(tag, content) {
		return t, false
	}
	var err error
	if tag == tagUTCTime {
		if t, err = time.Parse("060102150405Z", string(content)); err == nil && t.Year() >= 2050 {
			t = t.AddDate(-100, 0, 0)
		}
	} else if t, err = time.Parse("20060102150405Z", string(content)); t.Year() < 2050 {
		return t, false // RFC 5280 wants UTCTime until then
	}
	return t.UTC(), err == nil
}
