package verification

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds one value on the terminal, in characters.
const maxShown = 400

// Colours of the marks, as ANSI codes.
const (
	green = "32"
	red   = "31"
	faint = "2"
	loud  = "1;31"
)

// WriteText writes the report for people: a line a check, what differs below
// it, warnings, and the verdict in the last line. Colour uses ANSI codes.
func (r Report) WriteText(w io.Writer, colour bool) error {
	paint := func(code, s string) string {
		if !colour || s == "" {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	for _, c := range together(r.Checks) {
		mark := map[Outcome]string{Holds: paint(green, "✓"), Fails: paint(red, "✗"), Open: paint(faint, "·")}[c.OK]
		detail := printable(c.Detail)
		if c.Code != "" {
			detail = "[" + string(c.Code) + "]"
		}
		line := fmt.Sprintf("%-14s %-66s %s", c.Name, printable(c.What), paint(faint, detail))
		fmt.Fprintf(&b, " %s %s\n", mark, strings.TrimRight(line, " "))
		if c.Refusal == nil {
			continue
		}
		if c.Refusal.Field != "" {
			fmt.Fprintf(&b, "     %s found   %s\n", printable(c.Refusal.Field), printable(c.Refusal.Found))
			fmt.Fprintf(&b, "     %s wanted  %s\n", printable(c.Refusal.Field), printable(c.Refusal.Wanted))
		}
		if c.Refusal.Hint != "" {
			fmt.Fprintf(&b, "     try: %s\n", printable(c.Refusal.Hint))
		}
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "%s\n", paint(loud, printable(warning)))
	}
	code := map[string]string{Verified: green, NotVerified: red}[r.Verdict]
	if code == "" {
		code = "1"
	}
	fmt.Fprintf(&b, "%s: %s\n", paint(code, r.Verdict), printable(r.Summary))
	_, err := io.WriteString(w, b.String())
	return err
}

// together makes one line of three or more neighbours that say the same: what
// was not decided is said once.
func together(checks []Check) (lines []Check) {
	for i := 0; i < len(checks); {
		j := i
		for j < len(checks) && checks[j].OK == Open && checks[j].What == checks[i].What && checks[j].Detail == checks[i].Detail {
			j++
		}
		if j-i < 3 {
			lines = append(lines, checks[i])
			i++
			continue
		}
		line := checks[i]
		line.Name += "…" + checks[j-1].Name
		lines = append(lines, line)
		i = j
	}
	return lines
}

func printable(s string) string { return Printable(s, maxShown) }

// Printable keeps what a machine says from writing to the terminal as it
// likes: control and formatting characters are replaced, and no more than most
// characters are left.
func Printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
