package attestd

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/usage"
	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web"
)

// Bounds on what a client that may look at the running machine can ask for.
const (
	defaultLines  = 1000
	maxLines      = 10000
	maxStreams    = 16
	streamLife    = 15 * time.Minute // then the client asks again
	streamEvery   = 2 * time.Second
	streamPause   = 15 * time.Second // a sign of life is sent at least that often
	streamTimeout = 10 * time.Second // for one write
)

// LogQuery says which lines of which log are wanted.
type LogQuery struct {
	attestation.LogQuery
	Follow bool // and those that come, until the context ends
}

func (s *Server) serveServices(w http.ResponseWriter, r *http.Request) {
	names, err := s.opt.Services(r.Context())
	if err != nil {
		s.failLive(w, err)
		return
	}
	writeJSON(w, http.StatusOK, append([]string{"secretvm"}, names...))
}

// serviceName is what Docker allows as the name of a container.
var serviceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

func readLogQuery(r *http.Request) (LogQuery, *vm.Refusal) {
	var q LogQuery
	q.Lines, q.Service = defaultLines, r.URL.Query().Get("service")
	if lines := r.URL.Query().Get("lines"); lines != "" {
		n, err := strconv.ParseUint(lines, 10, 31)
		if err != nil || n == 0 {
			return q, vm.Refuse(vm.CodeInvalid, "lines is no positive number").On("lines", fmt.Sprintf("%.20q", lines), "1 to 10000")
		}
		q.Lines = int(min(n, maxLines))
	}
	if q.Service != "" && !serviceName.MatchString(q.Service) {
		return q, vm.Refuse(vm.CodeInvalid, "there is no such service").Try("see /services")
	}
	return q, nil
}

func (s *Server) serveLogs(w http.ResponseWriter, r *http.Request) {
	q, refusal := readLogQuery(r)
	if refusal != nil {
		fail(w, http.StatusBadRequest, refusal)
		return
	}
	if !s.take(w, s.logs) { // one log at a time: reading them costs dockerd as much as us
		return
	}
	defer func() { <-s.logs }()
	var text strings.Builder
	err := s.opt.Logs(r.Context(), q, func(line string) error {
		text.WriteString(line + "\n")
		return nil
	})
	if err != nil {
		s.failLive(w, err)
		return
	}
	write(w, http.StatusOK, typeText, []byte(text.String()))
}

func (s *Server) streamLogs(w http.ResponseWriter, r *http.Request) {
	q, refusal := readLogQuery(r)
	if refusal != nil {
		fail(w, http.StatusBadRequest, refusal)
		return
	}
	q.Follow = true
	s.stream(w, r, func(ctx context.Context, send func(string) error) error { return s.opt.Logs(ctx, q, send) })
}

func (s *Server) streamResources(w http.ResponseWriter, r *http.Request) {
	s.stream(w, r, func(ctx context.Context, send func(string) error) error {
		for ctx.Err() == nil {
			if err := send(string(attestation.Encode(s.opt.Resources().Now()))); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(streamEvery):
			}
		}
		return nil
	})
}

func (s *Server) serveResources(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.opt.Resources().Now())
}

func (s *Server) servePageOfResources(w http.ResponseWriter, _ *http.Request) {
	samples := s.opt.Resources()
	now := samples.Now()
	meters := []web.Meter{
		{Name: "Processor", Detail: "of all processors"},
		{Name: "Memory", Detail: fmt.Sprintf("%.2f of %.2f GiB", now.MemoryUsed, now.MemoryTotal)},
		{Name: "Disk", Detail: fmt.Sprintf("%.2f of %.2f GiB", now.DiskUsed, now.DiskTotal)},
	}
	for _, sample := range samples {
		for i, percent := range []float64{sample.CPUPercent, sample.MemoryPercent, sample.DiskPercent} {
			meters[i].Percent = append(meters[i].Percent, percent)
		}
	}
	w.Header().Set("Refresh", "5") // the page has no script that could
	s.render(w, web.TextPage{TEE: s.opt.TEE, Service: s.config.Service, Title: "Resources", Meters: meters, Every: usage.Every}.Render)
}

// stream sends server-sent events (WHATWG HTML, 9.2), a line each, until run
// ends, the client goes, or its time is over.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, run func(ctx context.Context, send func(string) error) error) {
	if !s.take(w, s.streams) {
		return
	}
	defer func() { <-s.streams }()
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	out := http.NewResponseController(w)
	lines := make(chan string)
	go func() {
		defer close(lines)
		_ = run(ctx, func(line string) error { // what ended it, the client learns by asking again
			select {
			case lines <- line:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	w.Header().Set("Content-Type", typeStream)
	for first := true; ; first = false {
		event := ": still here\n\n"
		if first {
			event = "retry: 5000\n\n"
		} else {
			select {
			case line, more := <-lines:
				if !more {
					return
				}
				event = "data: " + strings.NewReplacer("\r", " ", "\n", " ").Replace(line) + "\n\n"
			case <-time.After(streamPause):
			}
		}
		_ = out.SetWriteDeadline(time.Now().Add(streamTimeout))
		if _, err := w.Write([]byte(event)); err != nil || out.Flush() != nil {
			cancel()
			for range lines { // until run has noticed
			}
			return
		}
	}
}

// take holds one of a few places, or answers that all are taken.
func (s *Server) take(w http.ResponseWriter, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		s.failBusy(w)
		return false
	}
}

// failLive tells that the engine does not answer, which it does not while the
// machine boots.
func (s *Server) failLive(w http.ResponseWriter, err error) {
	s.opt.Log.Error("container engine", "error", err)
	fail(w, http.StatusServiceUnavailable, vm.Refuse(vm.CodeUnavailable, "the container engine does not answer").
		Try("ask again when /status says that the boot is complete"))
}
