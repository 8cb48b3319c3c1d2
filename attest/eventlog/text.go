package eventlog

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// maxDescription bounds what is said about one event, in bytes.
const maxDescription = 240

// prefixed returns the text behind its length byte, as blobs and tables have
// their description.
func prefixed(data []byte) []byte {
	if len(data) > 0 && int(data[0]) < len(data) {
		return data[1 : 1+int(data[0])]
	}
	return nil
}

// text is what a NUL-terminated text says, in ASCII or, where every second
// byte is zero, UTF-16.
func text(b []byte) string {
	if len(b) >= 4 && len(b)%2 == 0 && b[1] == 0 && b[3] == 0 {
		s, _ := utf16Text(b)
		return printable(strings.TrimRight(s, "\x00"))
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return printable(string(b))
}

func short(b []byte) string {
	const most = 48
	if len(b) > most {
		return hex.EncodeToString(b[:most]) + "…"
	}
	return hex.EncodeToString(b)
}

// printable keeps a log from writing what it likes to a terminal or page.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '.'
		}
		return r
	}, s)
	if len(s) > maxDescription {
		return s[:maxDescription] + "…"
	}
	return s
}
