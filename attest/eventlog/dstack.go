package eventlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on the JSON list of a dstack machine.
const (
	maxDstackLog   = 1 << 20
	maxDstackEvent = 64 << 10 // one payload
)

// ParseDstack reads dstack's event log: a JSON array of events with a register
// index from 0, a type, a digest and a payload in hex. Runtime events may come
// without digest (dstack 0.6 strips them); a digest that does not follow from
// name and payload is refused (vm.CodeEvents). Digests of the firmware's
// events are needed, their payloads may be missing.
func ParseDstack(b []byte) (Log, error) {
	if len(b) > maxDstackLog {
		return nil, vm.Refuse(vm.CodeTooLarge, "dstack event log has %d bytes, want at most %d", len(b), maxDstackLog)
	}
	var entries []struct {
		IMR     *int   `json:"imr"`
		Type    uint32 `json:"event_type"`
		Digest  string `json:"digest"`
		Event   string `json:"event"`
		Payload string `json:"event_payload"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&entries); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "dstack event log: %.200q", err.Error())
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, vm.Refuse(vm.CodeMalformed, "dstack event log: trailing bytes")
	}
	if len(entries) == 0 || len(entries) > maxEvents {
		return nil, vm.Refuse(vm.CodeMalformed, "dstack event log has %d events, want 1 to %d", len(entries), maxEvents)
	}
	log := make(Log, 0, len(entries))
	for i, entry := range entries {
		e := Event{Type: Type(entry.Type), Name: entry.Event}
		payload, err := hex.DecodeString(entry.Payload)
		switch {
		case err != nil:
			return nil, vm.Refuse(vm.CodeMalformed, "dstack event %d: payload is not hex", i)
		case entry.IMR == nil || *entry.IMR < 0 || *entry.IMR > 3:
			return nil, vm.Refuse(vm.CodeMalformed, "dstack event %d names no register from 0 to 3", i)
		case len(payload) > maxDstackEvent:
			return nil, vm.Refuse(vm.CodeTooLarge, "dstack event %d has a payload of %d bytes, want at most %d", i, len(payload), maxDstackEvent)
		}
		e.Register, e.Data = *entry.IMR, payload
		if entry.Digest != "" {
			if e.Digest, err = vm.ParseRegister(entry.Digest); err != nil {
				return nil, vm.Refuse(vm.CodeMalformed, "dstack event %d: %v", i, err)
			}
		}
		if err := e.settle(i, entry.Digest == ""); err != nil {
			return nil, err
		}
		log = append(log, e)
	}
	return log, nil
}

// settle fills in or checks the digest.
func (e *Event) settle(i int, open bool) error {
	if e.Type != Runtime {
		e.Name = "" // a label of dstack's, which no digest covers
		if open {
			return vm.Refuse(vm.CodeMalformed, "dstack event %d (%s) has no digest", i, e.Type)
		}
		return nil
	}
	if e.Register != vm.RuntimeRegister {
		return vm.Refuse(vm.CodeMalformed, "dstack event %d is a runtime event of RTMR%d, want RTMR%d", i, e.Register, vm.RuntimeRegister)
	}
	want := vm.RuntimeEvent(e.Name, e.Data).Digest
	if open {
		e.Digest = want
	}
	if e.Digest != want {
		return vm.Refuse(vm.CodeEvents, "dstack event %d (%s): the digest does not follow from its name and payload", i, printable(e.Name)).
			On("digest", e.Digest.String(), want.String())
	}
	return nil
}

// Runtime returns the payloads of the runtime events by name, and refuses
// (vm.CodeEvents) a list in which one of the named events comes twice.
func (l Log) Runtime(once ...string) (map[string][]byte, error) {
	single := map[string]bool{}
	for _, name := range once {
		single[name] = true
	}
	out := map[string][]byte{}
	for i, e := range l {
		if e.Type != Runtime {
			continue
		}
		if _, again := out[e.Name]; again && single[e.Name] {
			return nil, vm.Refuse(vm.CodeEvents, "event %d measures %s a second time", i, printable(e.Name)).
				On(printable(e.Name), "twice", "once").Try("something in the machine imitates its boot events")
		}
		out[e.Name] = e.Data
	}
	return out, nil
}
