package runtime

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

func viewed(out *bytes.Buffer) *machine {
	c := console.New(out)
	m := &machine{out: c, journal: &journal{console: c, over: true}, work: new(order.Process)}
	m.handover.config.Service = "svm1owner/guestbook"
	return m
}

// TestOwnLogIsFollowed: lines come in the form of a system's log, the last ones
// first, then those that are written.
func TestOwnLogIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := viewed(new(bytes.Buffer))
		for _, text := range []string{"one", "two", "three"} {
			m.out.Note(text)
			time.Sleep(time.Millisecond)
		}
		var got []string
		err := m.logs(t.Context(), attestd.LogQuery{Service: system, Lines: 2}, func(line string) error {
			got = append(got, line)
			return nil
		})
		stamp := time.Now().UTC().Format(time.Stamp)
		if err != nil || strings.Join(got, "|") != stamp+" guestbook secretvm[1]: note: two|"+stamp+" guestbook secretvm[1]: note: three" {
			t.Errorf("%q, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		time.AfterFunc(3*time.Second, func() { m.out.Note("four") })
		got = nil
		err = m.logs(ctx, attestd.LogQuery{Lines: 1, Follow: true}, func(line string) error {
			got = append(got, line[strings.LastIndex(line, ": ")+2:])
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || strings.Join(got, " ") != "three four" {
			t.Errorf("followed: %q, %v", got, err)
		}
		gone := errors.New("the client has gone")
		if err := m.logs(t.Context(), attestd.LogQuery{Lines: 1, Follow: true}, func(string) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("a client that goes: %v", err)
		}
	})
}

func TestStatusOfTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := viewed(new(bytes.Buffer))
		if s := m.status(); s.Running != "" || s.Workload != "starting" {
			t.Errorf("before the boot: %+v", s)
		}
		m.journal.Started("keys")
		time.Sleep(time.Second)
		if s := m.status(); s.Running != "keys" || time.Since(s.Since) != time.Second {
			t.Errorf("in a step: %+v", s)
		}
		m.journal.Finished(step.Result{Name: "keys", Took: time.Second})
		if s := m.status(); s.Running != "" || len(s.Steps) != 1 {
			t.Errorf("after it: %+v", s)
		}
	})
}

type noDevice struct{ tee.Device }

func (noDevice) Kind() vm.TEE { return vm.Soft }

// TestBootReport: who stands at the console reads what this machine is, how
// long each step took and which failed. Remarks and errors stay in their lines.
func TestBootReport(t *testing.T) {
	for _, failed := range []error{nil, errors.New("refused")} {
		var out bytes.Buffer
		m := viewed(&out)
		m.device, m.tlsKey = noDevice{}, vm.HashOf([]byte("key"))
		m.handover.config.InstanceID = strings.Repeat("ab", 16)
		m.handover.events = []vm.Event{vm.RuntimeEvent(vm.EventImage, bytes.Repeat([]byte{0x51}, 32))}
		m.journal.add([]step.Result{{Name: "measure", Took: 1200 * time.Millisecond, Remark: "quiet"}})
		last := step.Result{Name: "keys", Took: 500 * time.Millisecond}
		want := "note: boot complete after 1.7s: measure 1.2s, keys 0.5s\n"
		if failed != nil {
			last.Error, want = "quiet too", "note: boot FAILED after 1.7s: measure 1.2s, keys 0.5s FAILED\n"
		}
		m.journal.results = append(m.journal.results, last)
		m.report(failed)
		for _, text := range []string{want, "svm1owner/guestbook, instance abab", "TEE soft", "image 5151", "key sha256 " + m.tlsKey.String()} {
			if !strings.Contains(out.String(), text) {
				t.Errorf("report lacks %q:\n%s", text, out.String())
			}
		}
		if strings.Contains(out.String(), "quiet") {
			t.Errorf("report repeats remarks or errors:\n%s", out.String())
		}
	}
	var out bytes.Buffer
	viewed(&out).report(errors.New("no TEE"))
	if out.Len() != 0 {
		t.Errorf("a machine that knows nothing of itself reports %s", out.String())
	}
}
