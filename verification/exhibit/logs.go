package exhibit

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
)

// isCCEL tells a boot log by its first event: the specification's header, in
// the old format, whose signature stands at offset 32.
func isCCEL(b []byte) bool {
	const signature = "Spec ID Event03"
	return len(b) > 48 && string(b[32:32+len(signature)]) == signature
}

func bootLog(b []byte) Section {
	s := Section{Title: "Boot log (CCEL)"}
	log, err := eventlog.ParseCCEL(b)
	if err != nil {
		s.unread(fmt.Sprintf("%d bytes", len(b)), err)
		return s
	}
	s.log(log, 0, 1, 2, 3)
	return s
}

// log shows every event, and what the registers would be.
func (s *Section) log(log eventlog.Log, registers ...int) {
	for _, e := range log.Describe() {
		sure := "the machine's word"
		if e.Proven {
			sure = "follows from the digest"
		}
		s.remark(fmt.Sprintf("RTMR%d %s", e.Register, e.Name), strings.TrimRight(strings.TrimSpace(e.Description), ":"), "%s, digest %s, %s", e.Type, e.Digest, sure)
	}
	folded := log.Replay()
	for _, i := range registers {
		if !folded[i].IsZero() {
			s.remark(fmt.Sprintf("RTMR%d", i), folded[i].String(), "if these events are all")
		}
	}
}

func dstackLog(b []byte) Section {
	s := Section{Title: "Event log of dstack"}
	log, err := eventlog.ParseDstack(b)
	if err != nil {
		s.unread(fmt.Sprintf("%d bytes", len(b)), err)
		return s
	}
	s.log(log, 0, 1, 2, 3)
	return s
}

// events shows the runtime list.
func events(list []vm.Event) Section {
	s := Section{Title: "Events"}
	for _, e := range list {
		value, sure := hex.EncodeToString(e.Payload), "follows from the digest"
		if text := string(e.Payload); text != "" && text == printable(text) {
			value = fmt.Sprintf("%q", text)
		}
		if err := e.CheckRuntime(); err != nil {
			sure = err.Error()
		}
		s.remark(fmt.Sprintf("RTMR%d %s", e.Register, e.Name), value, "digest %s, %s", e.Digest, sure)
	}
	folded, err := vm.Replay(list)
	if err != nil {
		s.unread("replay", err)
		return s
	}
	s.remark("RTMR3", folded[vm.RuntimeRegister].String(), "if these events are all")
	return s
}
