package chromium

import (
	"os"
	"path/filepath"
	"strings"
)

// Look is a way in which somebody sees a page.
type Look struct {
	Name, Scheme string
	Width        int // pixels
}

// Looks are a phone and a desktop, light and dark.
var Looks = []Look{
	{"phone-light", "light", 360},
	{"phone-dark", "dark", 360},
	{"desktop-light", "light", 1280},
	{"desktop-dark", "dark", 1280},
}

// Wear sets a look on the open page and reports whether it is readable in it:
// it does not scroll sideways, and its colours are those of the scheme.
// SECRETVM_SCREENSHOTS=<folder> keeps what the browser saw as <folder>/<name>.png.
func (b *Browser) Wear(look Look, name string) {
	b.t.Helper()
	b.Look(look.Width, look.Scheme)
	if got, _ := b.Evaluate("document.documentElement.scrollWidth").(float64); got == 0 || got > float64(look.Width) {
		b.t.Errorf("%s: the page is %v pixels wide, want at most %d", name, got, look.Width)
	}
	if dark := b.Evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"; dark != (look.Scheme == "dark") {
		b.t.Errorf("%s: dark colours: %v", name, dark)
	}
	if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
		b.Screenshot(filepath.Join(folder, name+".png"))
	}
}

// Read opens url with a look and holds it to what every page of ours promises:
// the heading, Wear, the style sheet (so its digest is the policy's), and that
// nothing else is asked for.
func (b *Browser) Read(url, heading string, look Look, name string) {
	b.t.Helper()
	b.Look(look.Width, look.Scheme)
	b.Requests = nil
	b.Open(url)
	if got := b.Evaluate("document.querySelector('h1').textContent"); got != heading {
		b.t.Errorf("%s: the heading is %v, want %s", name, got, heading)
	}
	if got := b.Evaluate("getComputedStyle(document.querySelector('h1')).overflowWrap"); got != "anywhere" {
		b.t.Errorf("%s: the style sheet is not applied (overflow-wrap is %v)", name, got)
	}
	b.Wear(look, name)
	for _, asked := range b.Requests {
		if asked != url && !strings.HasPrefix(asked, "data:") {
			b.t.Errorf("%s: the page asks for %s", name, asked)
		}
	}
}
