package verification

import (
	"encoding/json"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// servedByDstack keeps what a dstack answer has beside quote and log: the
// application document, the one that the launch is bound to, and the launch
// configuration, which describes the OS image.
func servedByDstack(fields map[string]json.RawMessage) *peer.Served {
	text := func(name string) []byte {
		var s string
		if json.Unmarshal(fields[name], &s) != nil || s == "" {
			return nil
		}
		return []byte(s)
	}
	s := peer.Served{AppCompose: text("app_compose"), MrConfig: text("mr_config")}
	for _, nested := range []string{"tcb_info", "vm_config"} { // JSON inside text, or as it is
		raw := text(nested)
		if raw == nil {
			raw = fields[nested]
		}
		if nested == "vm_config" {
			s.VMConfig = raw
		}
		var inner struct {
			AppCompose string `json:"app_compose"`
			MrConfig   string `json:"mr_config"`
		}
		if json.Unmarshal(raw, &inner) != nil {
			continue
		}
		if s.AppCompose == nil && inner.AppCompose != "" {
			s.AppCompose = []byte(inner.AppCompose)
		}
		if s.MrConfig == nil && inner.MrConfig != "" {
			s.MrConfig = []byte(inner.MrConfig)
		}
	}
	if s.AppCompose == nil && s.MrConfig == nil && s.VMConfig == nil {
		return nil
	}
	return &s
}

// recogniseContainer reads dstack's own container of evidence, in hex or
// base64 inside JSON.
func recogniseContainer(field json.RawMessage) (Answer, Form, error) {
	var text string
	if err := json.Unmarshal(field, &text); err != nil {
		return Answer{}, "", unrecognised(": its attestation is no text")
	}
	raw, ok := DecodeText([]byte(text))
	if !ok {
		return Answer{}, "", unrecognised(": its attestation is neither hex nor base64")
	}
	a, err := answerOfContainer(raw)
	return a, FormContainer, err
}

// answerOfContainer turns the container into what Recognise returns for the
// other form: evidence, the event log as JSON, and the documents beside it.
func answerOfContainer(b []byte) (Answer, error) {
	at, err := peer.ParseAttestation(b)
	if err != nil {
		return Answer{}, err
	}
	type entry struct {
		IMR     int      `json:"imr"`
		Type    uint32   `json:"event_type"`
		Digest  string   `json:"digest"` // follows from the others
		Event   string   `json:"event"`
		Payload hexBytes `json:"event_payload"`
	}
	entries := []entry{}
	for _, e := range at.Log {
		entries = append(entries, entry{IMR: e.Register, Type: uint32(eventlog.Runtime), Event: e.Name, Payload: e.Data})
	}
	log, err := json.Marshal(entries)
	if err != nil {
		return Answer{}, vm.Refuse(vm.CodeMalformed, "dstack attestation: %v", err)
	}
	served := servedByDstack(map[string]json.RawMessage{"vm_config": at.VMConfig})
	if served == nil {
		served = &peer.Served{}
	}
	if at.MrConfig != nil {
		served.MrConfig = at.MrConfig
	}
	return Answer{Attestation: vm.Attestation{Evidence: at.Evidence}, Log: log, Served: served}, nil
}
