package web

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

//go:embed text.html
var textSource string

// TextPage shows a text that programs fetch under another path, or meters.
type TextPage struct {
	TEE            vm.TEE
	Service, Title string
	Path           string // of the text, relative to the page; empty: none
	Text           []byte
	Meters         []Meter       // instead of text
	Every          time.Duration // between two values of a meter
}

// Meter is a quantity over time.
type Meter struct {
	Name, Detail string
	Percent      []float64 // oldest first
}

var textTemplate = template.Must(template.New("text").Funcs(functions).Parse(textSource))

// Render writes the page as UTF-8 HTML.
func (p TextPage) Render(w io.Writer) error {
	if err := textTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("render page %s: %w", p.Title, err)
	}
	return nil
}

// Lines are those of the text, without what is not UTF-8.
func (p TextPage) Lines() []string {
	return strings.Split(strings.TrimSuffix(strings.ToValidUTF8(string(p.Text), "\uFFFD"), "\n"), "\n")
}

// Before is how long ago the first value of the meters was, in words.
func (p TextPage) Before() string {
	return AttestationPage{Uptime: p.Every * time.Duration(p.Meters[0].Width())}.Alive() + " ago"
}

// Now is the newest value, zero where there is none.
func (m Meter) Now() float64 {
	if len(m.Percent) == 0 {
		return 0
	}
	return m.Percent[len(m.Percent)-1]
}

// Width is that of the chart: one unit between two values.
func (m Meter) Width() int { return max(1, len(m.Percent)-1) }

// Line is the chart's line: x and y of each point, y downwards from 100 percent.
func (m Meter) Line() string {
	var b strings.Builder
	for i, percent := range m.Percent {
		fmt.Fprintf(&b, "%d,%.1f ", i, 100-min(100, max(0, percent)))
	}
	return b.String()
}

// Area is what lies below the line.
func (m Meter) Area() string { return fmt.Sprintf("0,100 %s%d,100", m.Line(), m.Width()) }
