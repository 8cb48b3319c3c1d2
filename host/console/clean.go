package console

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns line as printable text: terminal escape sequences, control
// characters, invisible and direction-changing characters and invalid UTF-8 are
// dropped, and tabs become spaces.
func Clean(line []byte) string {
	var b strings.Builder
	for len(line) > 0 {
		if line[0] == 0x1b {
			line = line[escapeLength(line):]
			continue
		}
		r, n := utf8.DecodeRune(line)
		line = line[n:]
		switch {
		case r == utf8.RuneError && n == 1:
		case r == '\t':
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escapeLength returns how many bytes of s, which begins with ESC, belong to
// the escape sequence (ECMA-48): CSI with its parameters and final byte, a
// control string up to its terminator, or ESC, intermediates and one final byte.
func escapeLength(s []byte) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if s[i] < 0x20 || s[i] > 0x3f {
				if s[i] >= 0x40 && s[i] <= 0x7e {
					return i + 1
				}
				return i // malformed: the odd byte is looked at on its own
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_':
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b {
				return i // ESC \ ends it; another ESC begins anew
			}
		}
		return len(s)
	}
	i := 1
	for i < len(s) && s[i] >= 0x20 && s[i] <= 0x2f {
		i++
	}
	if i < len(s) && s[i] >= 0x30 && s[i] <= 0x7e {
		i++
	}
	return i
}

// limit cuts s to at most n characters, with an ellipsis when it was longer.
func limit(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + "…"
}
