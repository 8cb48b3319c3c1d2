package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/guest/ipc"
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

// TestOwnLogIsAsked: lines come in the order of time, the last ones, and those
// after a moment.
func TestOwnLogIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := viewed(new(bytes.Buffer))
		m.handover.config.Open = []string{"logs"}
		for _, text := range []string{"one", "two", "three"} {
			m.out.Note(text)
			time.Sleep(time.Millisecond)
		}
		asked := func(q attestation.LogQuery) (text string, last time.Time) {
			t.Helper()
			log, err := m.logs(t.Context(), q)
			if err != nil || log.More {
				t.Fatalf("%+v, %v", log, err)
			}
			for _, l := range log.Lines {
				text, last = text+l.Source+" "+string(l.Text)+"|", l.Time
			}
			return text, last
		}
		text, last := asked(attestation.LogQuery{Service: system, Lines: 2})
		if text != "secretvm[1] note: two|secretvm[1] note: three|" || time.Since(last) != time.Millisecond {
			t.Errorf("%q, the last at %v", text, last)
		}
		m.out.Note("four")
		if text, _ := asked(attestation.LogQuery{Lines: 9, Since: last}); text != "secretvm[1] note: four|" {
			t.Errorf("after the third: %q", text)
		}
		if text, _ := asked(attestation.LogQuery{Lines: -1}); text != "" {
			t.Errorf("of less than no line: %q", text)
		}
	})
}

// TestLongLogsComeInParts: each part fits into a message, and none is lost or told
// twice.
func TestLongLogsComeInParts(t *testing.T) {
	var all []order.Line
	start := time.Unix(1800000000, 0)
	for i := range 1000 { // three are written at each moment
		all = append(all, order.Line{Time: start.Add(time.Duration(i / 3)), Source: "web-1", Text: []byte(fmt.Sprintf("%03d ", i) + strings.Repeat("\x00", 16<<10))})
	}
	next, parts := 0, 0
	for rest := all; ; parts++ {
		log := firstOf(rest)
		if encoded := len(attestation.Encode(log)); encoded > ipc.MaxMessage {
			t.Errorf("a part has %d bytes", encoded)
		}
		for _, l := range log.Lines {
			if want := fmt.Sprintf("%03d ", next); !strings.HasPrefix(string(l.Text), want) {
				t.Fatalf("line %d is %.20q", next, l.Text)
			}
			next++
		}
		last := log.Lines[len(log.Lines)-1].Time
		if rest = slices.DeleteFunc(slices.Clone(all), func(l order.Line) bool { return !l.Time.After(last) }); !log.More {
			break
		}
	}
	if next != len(all) || parts < 10 {
		t.Errorf("%d lines in %d parts", next, parts+1)
	}
	same := make([]order.Line, 1000) // all of one moment, of which the last are lost
	for i := range same {
		same[i].Text = bytes.Repeat([]byte("x"), 16<<10)
	}
	if log := firstOf(same); !log.More || len(attestation.Encode(log)) > ipc.MaxMessage {
		t.Errorf("of one moment there are %d lines, more %t", len(log.Lines), log.More)
	}
}

// TestA5_ClosedLogsAreNotHandedOut: a service that was taken over gets no log and
// no names that the measured config opens to nobody.
func TestA5_ClosedLogsAreNotHandedOut(t *testing.T) {
	m := viewed(new(bytes.Buffer))
	m.handover.config.Open = []string{"compose"}
	m.out.Note("inner detail")
	var refusal *vm.Refusal
	if log, err := m.logs(t.Context(), attestation.LogQuery{Lines: 9}); !errors.As(err, &refusal) || len(log.Lines) > 0 {
		t.Errorf("logs: %+v, %v", log, err)
	}
	if names, err := m.services(t.Context()); !errors.As(err, &refusal) || names != nil {
		t.Errorf("services: %v, %v", names, err)
	}
}

func TestStatusOfTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := viewed(new(bytes.Buffer))
		if s := m.status(); s.Running != "" || s.Workload != "starting" {
			t.Errorf("before the boot: %+v", s)
		}
		m.journal.Started("keys")
		time.Sleep(time.Second)
		if s := m.status(); s.Running != "keys" || s.Ran != time.Second {
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
		m.device, m.strangers = noDevice{}, &strangers{key: attestation.Key{SPKI: vm.HashOf([]byte("key"))}}
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
		for _, text := range []string{want, "svm1owner/guestbook, instance abab", "TEE soft", "image 5151", "key sha256 " + m.strangers.key.SPKI.String()} {
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
