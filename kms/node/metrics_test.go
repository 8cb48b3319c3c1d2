package node

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// scrape reads a node's metrics as values by name with labels.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	res, err := http.Get(url + pathMetrics)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Fatalf("status %d, type %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	line := regexp.MustCompile(`^secretvm_kms_([a-z_]+(?:\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})?) ([0-9.e+-]+)$`)
	comment := regexp.MustCompile(`^# (HELP secretvm_kms_[a-z_]+ .+|TYPE secretvm_kms_[a-z_]+ (gauge|counter|histogram))$`)
	out := map[string]float64{}
	for _, l := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		m := line.FindStringSubmatch(l)
		if m == nil {
			if !comment.MatchString(l) {
				t.Errorf("not a line of the format: %q", l)
			}
			continue
		}
		var v float64
		if _, err := fmt.Sscan(m[2], &v); err != nil {
			t.Errorf("%q: %v", l, err)
		}
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s is there twice", m[1])
		}
		out[m[1]] = v
	}
	for _, name := range []string{uid, "svm1", "/web", "127.0.0.1"} {
		if strings.Contains(string(b), name) {
			t.Errorf("the metrics contain %q", name)
		}
	}
	return out
}

// TestMetrics: a machine is granted keys, others are refused, and the numbers
// say so; they name nobody.
func TestMetrics(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	s.disk(t, cfg)
	other := cfg
	other.ComposeHash = vm.HashOf([]byte("theirs"))
	c, err := client.New([]string{s.url}, cfg.KMS)
	must(t, err)
	q, request := s.boot(t, other)
	if _, err := c.Release(t.Context(), q, request); vm.CodeOf(err) != vm.CodeCompose {
		t.Fatalf("another compose file: %v", err)
	}
	err = wire.Call(t.Context(), http.DefaultClient, http.MethodPost, s.url, wire.PathPartials, wire.PartialsRequest{Keys: request.Keys}, &wire.Partials{})
	if vm.CodeOf(err) != vm.CodePermission {
		t.Fatalf("partials without a grant: %v", err)
	}

	var m map[string]float64
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if m = scrape(t, s.url); m[`decisions_total{result="compose-mismatch"}`] == 1 || time.Now().After(end) {
			break
		}
	}
	for name, want := range map[string]float64{
		`decisions_total{result="granted"}`: 1, `decisions_total{result="compose-mismatch"}`: 1,
		`releases_total{result="ok"}`: 1, `releases_total{result="compose-mismatch"}`: 1,
		`partials_total{result="ok"}`: 1, `partials_total{result="permission"}`: 1,
		"release_seconds_count": 2, `release_seconds_bucket{le="+Inf"}`: 2, "partials_seconds_count": 2,
		"validators": 1, "peers": 0, "relay_waiting": 0, "epochs_open": 1, "epochs_ready": 1, "shares_held": 1, "threshold": 1, "holders": 1, "epoch": 0,
		`round_phase{phase="deal"}`: 0, `requests_total{kind="release",status="200"}`: 1, `requests_total{kind="release",status="403"}`: 1,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"height", "block_time_seconds", "release_seconds_sum", `verification_lookups_total{of="platform"}`, "process_resident_memory_bytes", "process_cpu_seconds_total", "goroutines", "process_open_fds"} {
		if m[name] <= 0 {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	if hits := m[`verification_hits_total{of="platform"}`]; hits < 1 || hits > m[`verification_lookups_total{of="platform"}`] {
		t.Errorf("the second quote of the same platform was verified with %v hits", hits)
	}
}

// TestLabelsAreBounded: whatever is counted, a metric has few rows.
func TestLabelsAreBounded(t *testing.T) {
	var c counts
	for i := range 1000 {
		c.decisions.add(fmt.Sprint("code-", i))
	}
	rows := c.decisions.rows()
	if len(rows) != maxLabels+1 {
		t.Errorf("%d rows, want %d", len(rows), maxLabels+1)
	}
	for _, r := range rows {
		if r.label == "other" && r.n != 1000-maxLabels {
			t.Errorf("others are %d", r.n)
		}
	}
	var h histogram
	for _, d := range []time.Duration{0, 5 * time.Millisecond, 6 * time.Millisecond, time.Hour} {
		h.add(d)
	}
	if counts, sum := h.read(); counts[0] != 2 || counts[1] != 1 || counts[len(bounds)] != 1 || sum < time.Hour {
		t.Errorf("buckets %v, sum %v", counts, sum)
	}
}
