package attestd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/web/chromium"
)

// TestPageInBrowser opens the page of a running service in a real browser, at
// the width of a phone and of a desktop, light and dark: nothing scrolls
// sideways, the console stays empty, the policy blocks nothing of ours.
// SECRETVM_SCREENSHOTS=<folder> keeps what it saw.
func TestPageInBrowser(t *testing.T) {
	b := chromium.Start(t)
	_, url, _ := serve(t, testOptions(t, "compose"))
	for _, c := range []struct {
		name, scheme string
		width        int
	}{
		{"phone-light", "light", 360}, {"phone-dark", "dark", 360}, {"desktop-light", "light", 1280}, {"desktop-dark", "dark", 1280},
	} {
		b.Look(c.width, c.scheme)
		b.Open(url + "/")
		if got := b.Evaluate("document.querySelector('h1').textContent"); got != "svm1owner/guestbook" {
			t.Errorf("%s: the heading is %v", c.name, got)
		}
		if got, _ := b.Evaluate("document.documentElement.scrollWidth").(float64); got == 0 || got > float64(c.width) {
			t.Errorf("%s: the page is %v pixels wide, want at most %d", c.name, got, c.width)
		}
		// The style sheet is applied, so its digest is the policy's.
		if got := b.Evaluate("getComputedStyle(document.querySelector('h1')).overflowWrap"); got != "anywhere" {
			t.Errorf("%s: the style sheet is not applied (overflow-wrap is %v)", c.name, got)
		}
		dark := b.Evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"
		if dark != (c.scheme == "dark") {
			t.Errorf("%s: dark colours: %v", c.name, dark)
		}
		if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
			b.Screenshot(filepath.Join(folder, "attestation-"+c.name+".png"))
		}
	}
	if len(b.Complaints) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.Complaints, "\n"))
	}
}
