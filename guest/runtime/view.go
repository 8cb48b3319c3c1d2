package runtime

import (
	"context"
	"slices"
	"time"

	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/guest/workload"
)

// system is the name of this process among the services.
const system = "secretvm"

// logPause is how often a log that is followed is read again.
const logPause = 2 * time.Second

// status is what the attestation service tells about the boot.
func (m *machine) status() attestd.Status {
	s := m.journal.status()
	s.Workload, s.Clock = m.state.String(), m.clock.Status()
	if p := m.shown.Load(); p != nil {
		for _, c := range p.Containers() {
			s.Containers = append(s.Containers, attestd.Container(c))
		}
	}
	return m.withCertificates(s)
}

// services names the containers, none before there is an engine.
func (m *machine) services(ctx context.Context) ([]string, error) {
	p := m.shown.Load()
	if p == nil {
		return nil, nil
	}
	return p.Services(ctx)
}

// logs gives lines of this process and of containers, in the order of time and
// in the form of a system's log, and, where they are followed, the lines that
// come, until ctx ends.
func (m *machine) logs(ctx context.Context, q attestd.LogQuery, each func(string) error) error {
	var newest time.Time
	for {
		lines, err := m.linesSince(ctx, q, newest)
		if err != nil {
			return err
		}
		for _, l := range lines {
			newest = l.Time
			if err := each(l.Time.UTC().Format(time.Stamp) + " " + m.handover.name() + " " + l.Source + ": " + l.Text); err != nil {
				return err
			}
		}
		if !q.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPause):
		}
	}
}

// linesSince returns the last lines that were written after a moment.
func (m *machine) linesSince(ctx context.Context, q attestd.LogQuery, since time.Time) (lines []workload.Line, err error) {
	if p := m.shown.Load(); p != nil && q.Service != system {
		if lines, err = p.Logs(ctx, q.Service, q.Lines, since); err != nil {
			return nil, err
		}
	}
	if q.Service == "" || q.Service == system {
		for _, l := range m.out.Since(since) {
			lines = append(lines, workload.Line{Time: l.Time, Source: system + "[1]", Text: l.Text})
		}
	}
	// The rest of a long line has no time of its own and stays where it is.
	for i := 1; i < len(lines); i++ {
		if lines[i].Time.IsZero() {
			lines[i].Time = lines[i-1].Time
		}
	}
	slices.SortStableFunc(lines, func(a, b workload.Line) int { return a.Time.Compare(b.Time) })
	return lines[max(0, len(lines)-q.Lines):], nil
}
