package attest

import (
	"bytes"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

// withLog gives the evidence a real machine's log and the registers that it explains.
func (b bed) withLog(t *testing.T, ev *vm.Evidence, name string) {
	t.Helper()
	ev.BootLog = read(t, name)
	log, err := eventlog.ParseCCEL(ev.BootLog)
	if err != nil {
		t.Fatal(err)
	}
	b.resign(t, ev, func(q *tdx.Quote) { q.Body.RTMR = log.Replay() })
}

func TestBootLogExplainsTheRegisters(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	b.withLog(t, &ev, "measure/dstack/ccel.bin")
	v, err := Verify(ev, b.options)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.BootLog) != 18 || v.BootLog[11].Name != "kernel" || v.BootLog[11].Proven || !v.BootLog[2].Proven {
		t.Errorf("boot log %+v", v.BootLog)
	}
	// Without padding it says the same.
	ev.BootLog = bytes.TrimRight(ev.BootLog, "\xff")
	if again, err := Verify(ev, b.options); err != nil || len(again.BootLog) != len(v.BootLog) {
		t.Errorf("without padding: %d events, %v", len(again.BootLog), err)
	}
}

func TestK8_BootLog(t *testing.T) {
	b := newBed(t)
	for _, tt := range []struct {
		name   string
		log    string
		change func(*vm.Evidence)
		code   vm.Code
		field  string
	}{
		{"one digest changed", "measure/dstack/ccel.bin", func(ev *vm.Evidence) {
			ev.BootLog = bytes.Clone(ev.BootLog)
			ev.BootLog[100] ^= 1
		}, vm.CodeEvents, "RTMR0"},
		{"last event cut", "measure/go-eventlog/cos-113-intel-tdx.bin", func(ev *vm.Evidence) {
			end := bytes.LastIndex(ev.BootLog, []byte("Exit Boot Services Invocation")) + len("Exit Boot Services Invocation")
			ev.BootLog = ev.BootLog[:end]
		}, vm.CodeEvents, "RTMR1"},
		{"of another machine", "measure/dstack/ccel.bin", func(ev *vm.Evidence) { ev.BootLog = read(t, "measure/trustee/CCEL_data_ovmf") }, vm.CodeEvents, "RTMR0"},
		{"separator twice", "measure/go-eventlog/cos-113-intel-tdx-dupe-separator.bin", func(*vm.Evidence) {}, vm.CodeEvents, "EV_SEPARATOR of RTMR0"},
		{"cut in an event", "measure/dstack/ccel.bin", func(ev *vm.Evidence) { ev.BootLog = ev.BootLog[:1000] }, vm.CodeMalformed, ""},
		{"too large", "measure/dstack/ccel.bin", func(ev *vm.Evidence) {
			ev.BootLog = append(bytes.Clone(ev.BootLog), bytes.Repeat([]byte{0xff}, vm.MaxBootLogSize)...)
		}, vm.CodeTooLarge, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev := b.evidence(t)
			b.withLog(t, &ev, tt.log)
			tt.change(&ev)
			v, err := Verify(ev, b.options)
			if r := refused(t, err, tt.code); tt.field != r.Field {
				t.Errorf("field %q, want %q: %v", r.Field, tt.field, err)
			}
			if v.BootLog != nil {
				t.Error("a refused log is in the verdict")
			}
		})
	}
}

// A list that explains RTMR3 and says a boot event twice is refused: a reader
// of the first and a reader of the last would believe different things.
func TestB7_DuplicateEvents(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{vm.EventImage, vm.EventCompose, vm.EventFiles, vm.EventConfig, vm.EventBootComplete} {
		ev := b.evidence(t)
		ev.Events = []vm.Event{vm.RuntimeEvent(name, []byte{1}), vm.RuntimeEvent("app", nil), vm.RuntimeEvent("app", nil)}
		explain := func() {
			rtmr, err := vm.Replay(ev.Events)
			if err != nil {
				t.Fatal(err)
			}
			b.resign(t, &ev, func(q *tdx.Quote) { q.Body.RTMR[3] = rtmr[3] })
		}
		explain()
		if _, err := Verify(ev, b.options); err != nil {
			t.Fatalf("%s once: %v", name, err)
		}
		ev.Events = append(ev.Events, vm.RuntimeEvent(name, []byte{2}))
		explain()
		_, err := Verify(ev, b.options)
		if r := refused(t, err, vm.CodeEvents); r.Field != name {
			t.Errorf("%s twice: %v", name, err)
		}
	}
}
