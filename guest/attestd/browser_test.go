package attestd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/guest/usage"
	"github.com/secretvm/secretvm/web/chromium"
)

// busyOptions are those of a machine that has been used for a while.
func busyOptions(t *testing.T) Options {
	t.Helper()
	opt := liveOptions(t, "compose", "logs", "metrics", "resources", "services")
	opt.Resources = func() (samples usage.Samples) {
		for i := range usage.Kept {
			wave := 50 + 45*math.Sin(float64(i)/5)
			samples = append(samples, usage.Sample{
				CPUPercent: wave, MemoryTotal: 1.935, MemoryUsed: 0.9 + wave/200, MemoryPercent: 40 + wave/4,
				DiskTotal: 3.874, DiskUsed: 0.412, DiskPercent: 10.6,
			})
		}
		return samples
	}
	opt.Logs = func(_ context.Context, _ LogQuery, each func(string) error) error {
		for i := range 12 {
			_ = each(fmt.Sprintf("Nov 23 09:20:%02d guestbook guestbook-web-1: 203.0.113.7 - - \"GET /entries?page=%d HTTP/1.1\" 200 5123 \"-\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\"", i, i))
		}
		return each("<img src=x onerror=alert(1)>")
	}
	return opt
}

// TestPagesInBrowser opens the pages of a running service in a real browser, at
// the width of a phone and of a desktop, light and dark: nothing scrolls
// sideways, the console stays empty, nothing else is asked for, the policy
// blocks nothing of ours. SECRETVM_SCREENSHOTS=<folder> keeps what it saw.
func TestPagesInBrowser(t *testing.T) {
	b := chromium.Start(t)
	_, url, _ := serve(t, busyOptions(t))
	_, closed, _ := serve(t, testOptions(t))
	for _, page := range []struct{ url, name, heading string }{
		{url + "/", "open", "svm1owner/guestbook"},
		{closed + "/", "closed", "svm1owner/guestbook"},
		{url + "/logs.html", "logs", "Logs"},
		{url + "/resources.html", "resources", "Resources"},
		{url + "/status.html", "status", "Status"},
		{url + "/cpu.html", "cpu", "Quote"},
		{url + "/docker-compose.html", "compose", "Compose file"},
		{url + "/.well-known/services.html", "services", "Services"},
	} {
		for _, look := range chromium.Looks {
			b.Read(page.url, page.heading, look, page.name+"-"+look.Name)
		}
	}
	b.Look(1280, "light")
	b.Open(url + "/resources.html")
	if got := b.Evaluate("document.querySelector('polyline').getBoundingClientRect().width"); got.(float64) < 300 {
		t.Errorf("the chart's line is %v pixels wide", got)
	}
	if len(b.Complaints) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.Complaints, "\n"))
	}
}
