package attestd

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// counts is what the service counts about itself.
type counts struct {
	requests, busy               atomic.Int64
	quotes, failed, nanoseconds  atomic.Int64
	connections, openConnections atomic.Int64
}

func (c *counts) quoted(took time.Duration, err error) {
	c.quotes.Add(1)
	c.nanoseconds.Add(int64(took))
	if err != nil {
		c.failed.Add(1)
	}
}

// serveMetrics writes Prometheus' text format, version 0.0.4. Nothing in it
// depends on the workload's content.
func (s *Server) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	metric := func(name, kind, help string, value any, labels ...string) {
		if help != "" {
			fmt.Fprintf(&b, "# HELP secretvm_%s %s\n# TYPE secretvm_%s %s\n", name, help, name, kind)
		}
		if len(labels) == 2 {
			name += fmt.Sprintf("{%s=%q}", labels[0], labels[1]) // our own words: no escape but those that %q shares
		}
		fmt.Fprintf(&b, "secretvm_%s %v\n", name, value)
	}
	status, now := s.status(), s.opt.Resources().Now()
	metric("uptime_seconds", "gauge", "Time since the machine started.", time.Since(s.opt.Booted).Seconds())
	help := "Time that a step of the boot took."
	for _, st := range status.Steps {
		metric("boot_step_seconds", "gauge", help, st.Took.Seconds(), "step", st.Name)
		help = ""
	}
	help = "When a public certificate lapses, in seconds since 1970."
	for _, c := range certificatesOf(status.TLS) {
		if c.Public {
			metric("certificate_not_after_seconds", "gauge", help, c.NotAfter.Unix(), "of", c.Of)
			help = ""
		}
	}
	complete := 1
	if status.Running != "" {
		complete = 0
	}
	metric("boot_complete", "gauge", "Whether no step of the boot runs any more.", complete)
	metric("workload_state", "gauge", "1 beside what the workload does now.", 1, "state", status.Workload)
	metric("memory_used_gibibytes", "gauge", "Memory in use.", now.MemoryUsed)
	metric("memory_total_gibibytes", "gauge", "Memory of the machine.", now.MemoryTotal)
	metric("disk_used_gibibytes", "gauge", "Data disk in use.", now.DiskUsed)
	metric("disk_total_gibibytes", "gauge", "Size of the data disk.", now.DiskTotal)
	metric("cpu_percent", "gauge", "Processor time in use, of all processors.", now.CPUPercent)
	c := &s.counts
	metric("attestation_requests_total", "counter", "Requests to this service.", c.requests.Load())
	metric("attestation_busy_total", "counter", "Requests that were turned away for now.", c.busy.Load())
	metric("attestation_connections_total", "counter", "Connections to this service.", c.connections.Load())
	metric("attestation_connections", "gauge", "Connections that are open.", c.openConnections.Load())
	metric("quotes_total", "counter", "Quotes that were asked of the TEE.", c.quotes.Load())
	metric("quote_failures_total", "counter", "Quotes that the TEE did not give.", c.failed.Load())
	metric("quote_seconds_total", "counter", "Time that quotes took.", time.Duration(c.nanoseconds.Load()).Seconds())
	metric("goroutines", "gauge", "Goroutines of the first process.", status.Goroutines)
	write(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", []byte(b.String()))
}
