package attestd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/usage"
)

// follow opens a stream; ending the context ends it.
func follow(t *testing.T, ctx context.Context, c *http.Client, url string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewScanner(resp.Body)
}

// TestStreams: logs and resources arrive as events, one line each: what a
// container writes cannot forge another event.
func TestStreams(t *testing.T) {
	_, url, client := serve(t, liveOptions(t, "logs", "resources"))
	resp, lines := follow(t, t.Context(), client, url+"/logs/stream?lines=5")
	if got := resp.Header.Get("Content-Type"); got != typeStream {
		t.Errorf("content type %q", got)
	}
	var got []string
	for len(got) < 6 && lines.Scan() {
		got = append(got, lines.Text())
	}
	if want := "retry: 5000||data: Nov 23 09:00:00 guestbook secretvm[1]: a line of a log||data: <script>alert(1)</script>  data: forged|"; strings.Join(got, "|") != want {
		t.Errorf("events %q", got)
	}
	_, lines = follow(t, t.Context(), client, url+"/resources/stream")
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var sample usage.Sample
			if err := json.Unmarshal([]byte(data), &sample); err != nil || sample.CPUPercent != 12.5 {
				t.Errorf("event %q: %v", data, err)
			}
			return
		}
	}
	t.Error("no event came")
}

// TestA6_StreamsAreFew: one too many is turned away, and a place is free again
// when a client has gone.
func TestA6_StreamsAreFew(t *testing.T) {
	s, url, client := serve(t, liveOptions(t, "logs"))
	ctx, cancel := context.WithCancel(t.Context())
	for range maxStreams {
		if resp, _ := follow(t, ctx, client, url+"/logs/stream"); resp.StatusCode != http.StatusOK {
			t.Fatalf("a stream: %d", resp.StatusCode)
		}
	}
	if code, body := ask(t, client, url+"/logs/stream"); code != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: %d %s", code, body)
	}
	cancel()
	for range 100 {
		if len(s.streams) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if code, _ := ask(t, client, url+"/logs/stream"); code != http.StatusOK {
		t.Errorf("after the others have gone: %d, %d places taken", code, len(s.streams))
	}
}

// TestStreamsEndWithTheService: a client that listens does not hold up a stop.
func TestStreamsEndWithTheService(t *testing.T) {
	s, url, client := serve(t, liveOptions(t, "logs"))
	_, lines := follow(t, t.Context(), client, url+"/logs/stream")
	lines.Scan()
	s.stop()
	done := make(chan struct{})
	go func() {
		for lines.Scan() {
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("the stream goes on")
	}
}

var metricLine = regexp.MustCompile(`^secretvm_[a-z_]+(\{[a-z]+="[a-z]*"\})? [0-9.e+-]+$`)

func TestMetrics(t *testing.T) {
	opt := liveOptions(t, "compose", "metrics")
	_, url, client := serve(t, opt)
	get(t, client, fmt.Sprintf("%s/attestation?nonce=%032x", url, 1))
	resp, body := get(t, client, url+"/metrics")
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", got)
	}
	described := map[string]bool{}
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if words := strings.Fields(line); strings.HasPrefix(line, "# ") {
			if len(words) < 4 || words[1] == "TYPE" && words[3] != "gauge" && words[3] != "counter" || words[1] == "HELP" && described[words[2]] {
				t.Errorf("comment %q", line)
			}
			described[words[2]] = true
			continue
		}
		name, _, _ := strings.Cut(strings.Fields(line)[0], "{")
		if !metricLine.MatchString(line) || !described[name] {
			t.Errorf("line %q is not in Prometheus' format, or without a description", line)
		}
	}
	for _, want := range []string{
		`secretvm_boot_step_seconds{step="measure"} 1.234`, `secretvm_workload_state{state="running"} 1`, "\nsecretvm_boot_complete 1\n",
		"\nsecretvm_cpu_percent 12.5\n", "\nsecretvm_memory_total_gibibytes 2\n", "\nsecretvm_quote_failures_total 0\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %q:\n%s", want, body)
		}
	}
	for _, secret := range []string{"for the console", "services", "guestbook", "abababab"} {
		if strings.Contains(body, secret) {
			t.Errorf("metrics tell %q", secret)
		}
	}
}

// TestStatusNamesTheStage: the step that runs, then that all are done.
func TestStatusNamesTheStage(t *testing.T) {
	opt := testOptions(t)
	now := Status{Workload: "starting", Running: "keys", Ran: 1500 * time.Millisecond}
	opt.Status = func() Status { return now }
	_, url, client := serve(t, opt)
	_, body := get(t, client, url+"/status")
	var status statusAnswer
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	if status.Stage != "keys" || len(status.Boot) != 1 || status.Boot[0].State != "running" || status.Boot[0].MS < 1500 {
		t.Errorf("during the boot: %s", body)
	}
	now.Waiting = "2 of 4 nodes answer"
	if _, body := get(t, client, url+"/status"); !strings.Contains(body, `"state":"waiting"`) || strings.Contains(body, "nodes") {
		t.Errorf("while a step waits: %s", body)
	}
	now = Status{Workload: "running"}
	if _, body := get(t, client, url+"/status"); !strings.Contains(body, `"stage":"complete"`) {
		t.Errorf("after the boot: %s", body)
	}
}

// TestA4_PagesOfTexts: what containers write is text on the page, whatever it
// looks like.
func TestA4_PagesOfTexts(t *testing.T) {
	_, url, client := serve(t, liveOptions(t, "logs", "resources", "services"))
	for _, path := range []string{"/logs.html", "/services.html", "/status.html", "/config.html", "/cpu.html", "/resources.html", "/.well-known/logs.html"} {
		resp, body := get(t, client, url+path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != typeHTML || strings.Contains(body, "<script") {
			t.Errorf("GET %s: %d %s, script: %v", path, resp.StatusCode, resp.Header.Get("Content-Type"), strings.Contains(body, "<script"))
		}
	}
	if _, body := get(t, client, url+"/logs.html"); !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Errorf("the log is not on its page:\n%s", body)
	}
	if resp, body := get(t, client, url+"/gpu.html"); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, `"error"`) || resp.Header.Get("Content-Type") != typeJSON {
		t.Errorf("GET /gpu.html: %d %s", resp.StatusCode, body)
	}
}
