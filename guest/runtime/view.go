package runtime

import (
	"context"
	"slices"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/vm"
)

// system is the name of this process among the services.
const system = "secretvm"

// lineSize is about what a line of a log takes beside its text, in bytes.
const lineSize = 128

// status is what the attestation service tells about the boot.
func (m *machine) status() attestation.Status {
	s := m.journal.status()
	s.Workload, s.Containers = m.work.State()
	s.Clock = m.clock.Status()
	if signing := m.signing(); signing != nil {
		s.Keys = map[string][]byte{}
		for _, kind := range []string{vm.SignEd25519, vm.SignSecp256k1} {
			if pem, _ := signing.PublicKey(kind); pem != nil {
				s.Keys[kind] = pem
			}
		}
	}
	return m.withCertificates(s)
}

// opens reports whether the measured config lets anybody have what word names:
// the attestation service, which tells who may, gets nothing else to tell.
func (m *machine) opens(word string) error {
	if c := m.handover.config; !slices.Contains(c.Open, word) && len(c.Tokens) == 0 {
		return vm.Refuse(vm.CodePermission, "the measured config opens %s to nobody", word)
	}
	return nil
}

// services names the containers, none before there is an engine.
func (m *machine) services(ctx context.Context) ([]string, error) {
	if err := m.opens("services"); err != nil {
		return nil, err
	}
	return order.Ask[struct{}, []string](ctx, m.work, order.Services, struct{}{})
}

// logs gives lines of this process and of containers, in the order of time: of
// more than fit, the first.
func (m *machine) logs(ctx context.Context, q attestation.LogQuery) (log attestation.Log, err error) {
	if err := m.opens("logs"); err != nil {
		return log, err
	}
	m.reading.Lock() // one log at a time: they are large, and reading them costs dockerd as much as us
	defer m.reading.Unlock()
	lines, err := m.linesSince(ctx, q)
	if err != nil {
		return log, err
	}
	return firstOf(lines), nil
}

// firstOf returns as many of the first lines as fit into a message.
func firstOf(lines []order.Line) (log attestation.Log) {
	size := 0
	for i, l := range lines {
		// What was written at the same moment stays together: what is asked next
		// begins after the last.
		size += len(l.Text) + lineSize
		if apart := l.Time.After(lines[max(0, i-1)].Time); apart && size > attestation.MaxLog || size > 2*attestation.MaxLog {
			log.More = true
			break
		}
		log.Lines = append(log.Lines, l)
	}
	return log
}

// linesSince returns the last lines that were written after a moment.
func (m *machine) linesSince(ctx context.Context, q attestation.LogQuery) (lines []order.Line, err error) {
	if q.Service != system && m.work.Started() {
		if lines, err = order.Ask[order.LogQuery, []order.Line](ctx, m.work, order.Logs, order.LogQuery{Container: q.Service, Lines: q.Lines, Since: q.Since}); err != nil {
			return nil, err
		}
	}
	if q.Service == "" || q.Service == system {
		for _, l := range m.out.Since(q.Since) {
			lines = append(lines, order.Line{Time: l.Time, Source: system + "[1]", Text: []byte(l.Text)})
		}
	}
	order.Sort(lines)
	return lines[max(0, len(lines)-max(0, q.Lines)):], nil
}
