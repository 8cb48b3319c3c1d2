//go:build e2e

package e2e

import (
	"bufio"
	"crypto/tls"
	"flag"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd measures what a thousand strangers at the attestation service cost the
// workload; the figures are in docs/performance.md.
var crowd = flag.Bool("crowd", false, "measure a crowd at the attestation service of the machine with many services")

// crowded measures the workload's answers with and without a crowd that asks for
// quotes as fast as they are answered.
func (s *session) crowded(t *testing.T) {
	t.Helper()
	const clients, length = 1000, 20 * time.Second
	question := s.result.Attestation + "/attestation?nonce=" + strings.Repeat("5a", 32)

	for _, path := range []string{"/attestation?nonce=" + strings.Repeat("5a", 32), "/config"} {
		client := stranger()
		var took []time.Duration
		time.Sleep(5 * time.Second) // what was asked for before is paid back
		before := s.metrics(t, client)
		for range 31 {
			began := time.Now()
			if status := drain(client, s.result.Attestation+path); status == http.StatusOK {
				took = append(took, time.Since(began))
			}
		}
		after := s.metrics(t, client)
		client.CloseIdleConnections()
		slices.Sort(took)
		if len(took) < 31 {
			t.Fatalf("%s: %d of 31 answered", path, len(took))
		}
		t.Logf("%.20s, one client after another: p50 %s, p90 %s", path, took[15], took[27])
		if quotes := after["secretvm_quotes_total"] - before["secretvm_quotes_total"]; quotes > 20 {
			device := time.Duration((after["secretvm_quote_seconds_total"] - before["secretvm_quote_seconds_total"]) / quotes * float64(time.Second))
			t.Logf("the device takes %s of it on average, so that p50 is %s more", device, took[15]-device)
		}
	}

	alone := s.load(t, length)
	var connected, answered, refused, broken atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			client := stranger()
			defer client.CloseIdleConnections()
			for first := true; ; first = false {
				select {
				case <-stop:
					return
				default:
				}
				switch status := drain(client, question); {
				case status == http.StatusOK:
					answered.Add(1)
				case status == http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					broken.Add(1)
				}
				if first {
					connected.Add(1)
				}
			}
		})
	}
	began := time.Now()
	for connected.Load() < clients*9/10 && time.Since(began) < time.Minute {
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d of %d clients have an answer after %s", connected.Load(), clients, seconds(time.Since(began)))
	before := answered.Load()
	among := s.load(t, length)
	quotes := answered.Load() - before
	close(stop)
	all.Wait()
	t.Logf("the workload answers %.0f requests a second alone, %.0f in the crowd: %.0f %%", alone, among, 100*among/alone)
	t.Logf("the crowd gets %.1f quotes a second; %d refused for now, %d broken", float64(quotes)/length.Seconds(), refused.Load(), broken.Load())
	if among < alone/10 { // the clients are on the machine's own processors
		t.Errorf("the crowd starves the workload")
	}
}

// metrics are those without labels.
func (s *session) metrics(t *testing.T, client *http.Client) map[string]float64 {
	t.Helper()
	resp, err := client.Get(s.result.Attestation + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values
}

// load asks the workload by eight clients, and returns answers a second.
func (s *session) load(t *testing.T, length time.Duration) float64 {
	t.Helper()
	var answers atomic.Int64
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			client := stranger()
			defer client.CloseIdleConnections()
			for time.Now().Before(end) {
				if drain(client, s.url(t, "web", "/")) == http.StatusOK {
					answers.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(answers.Load()) / length.Seconds()
}

// stranger is a client with a connection of its own.
func stranger() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// drain asks and returns the status; 0 where there is none.
func drain(client *http.Client, url string) int {
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}
