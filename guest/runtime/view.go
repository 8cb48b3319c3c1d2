package runtime

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/guest/workload/order"
)

// system is the name of this process among the services.
const system = "secretvm"

// logPause is how often a log that is followed is read again.
const logPause = 2 * time.Second

// status is what the attestation service tells about the boot.
func (m *machine) status() attestd.Status {
	s := m.journal.status()
	word, containers := m.work.State()
	s.Workload, s.Clock = word, m.clock.Status()
	for _, c := range containers {
		s.Containers = append(s.Containers, attestd.Container(c))
	}
	return m.withCertificates(s)
}

// services names the containers, none before there is an engine.
func (m *machine) services(ctx context.Context) ([]string, error) {
	return order.Ask[struct{}, []string](ctx, m.work, order.Services, struct{}{})
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
			if err := each(l.Time.UTC().Format(time.Stamp) + " " + m.handover.name() + " " + l.Source + ": " + string(l.Text)); err != nil {
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
func (m *machine) linesSince(ctx context.Context, q attestd.LogQuery, since time.Time) (lines []order.Line, err error) {
	if q.Service != system && m.work.Started() {
		if lines, err = order.Ask[order.LogQuery, []order.Line](ctx, m.work, order.Logs, order.LogQuery{Container: q.Service, Lines: q.Lines, Since: since}); err != nil {
			return nil, err
		}
	}
	if q.Service == "" || q.Service == system {
		for _, l := range m.out.Since(since) {
			lines = append(lines, order.Line{Time: l.Time, Source: system + "[1]", Text: []byte(l.Text)})
		}
	}
	order.Sort(lines)
	return lines[max(0, len(lines)-q.Lines):], nil
}
