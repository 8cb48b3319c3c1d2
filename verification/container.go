package verification

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// The forms of what a container of a machine gets from it, and of what the
// machine says about its containers.
const (
	FormQuote Form = "quote that a container asked for (JSON)"
	FormLog   Form = "application's log (JSON)"
)

// Container is what came with a quote that is about containers, not about the
// machine's TLS key. Nothing in it is believed yet.
type Container struct {
	Data     []byte       // that the quote is to be about; of a log, the nonce beside it
	Register *vm.Register // of the application's log; nil: the quote is about data alone
	Events   []vm.Event   // that fold into it

	// Granted are the services that may ask for quotes, by the caller's own compose
	// file: with that compared, the container was one of theirs.
	Granted []string
}

// recogniseContainerQuote reads what the machine's API answers a container
// (package guestapi), and what GET /application answers everybody.
func recogniseContainerQuote(b []byte) (Answer, Form, error) {
	var said struct {
		Data     *string
		Nonce    string
		Register *vm.Register
		Events   []vm.Event

		ApplicationRegister *vm.Register `json:"application_register"`
		ApplicationEvents   []vm.Event   `json:"application_events"`
	}
	if err := json.Unmarshal(b, &said); err != nil {
		return Answer{}, "", unrecognised(fmt.Sprintf(": %.200q", err.Error()))
	}
	form, text := FormLog, said.Nonce
	c := &Container{Register: said.Register, Events: said.Events}
	if said.Data != nil {
		text = *said.Data
		if c.Register, c.Events = said.ApplicationRegister, said.ApplicationEvents; c.Register == nil {
			form = FormQuote
		}
	}
	var err error
	if c.Data, err = hex.DecodeString(text); err != nil || len(c.Data) > vm.MaxWorkloadData {
		return Answer{}, "", unrecognised(fmt.Sprintf(": its data is not hex of at most %d bytes", vm.MaxWorkloadData))
	}
	at, err := ParseAttestation(b)
	if err != nil {
		return Answer{}, "", err
	}
	return Answer{Attestation: vm.Attestation{Evidence: at.Evidence}, Container: c}, form, nil
}

// contained replaces what is looked at of a connection by what a quote about
// containers says.
func (f *finding) contained(checks []Check) []Check {
	c := f.answer.Container
	if c == nil {
		return checks
	}
	connection := fact("connection", "not checked: such a quote is about no connection", "")
	fresh := fact("fresh", "not checked: it is as fresh as its data", "")
	return append([]Check{connection, fresh, f.checkData(), f.checkLog()}, checks[2:]...)
}

// checkData holds the quote's report data against what a container, or whoever
// asked for the log, named.
func (f *finding) checkData() Check {
	c := f.answer.Container
	want, what := vm.WorkloadReportData(c.Data), "data"
	if c.Register != nil {
		want, what = vm.ApplicationReportData(*c.Register, c.Data), "log and data"
	}
	who := "a container of the machine asked for the quote"
	switch {
	case c.Register != nil:
		who = "the machine quoted its containers' log"
	case len(c.Granted) > 0:
		who = "a container of service " + strings.Join(c.Granted, " or ") + " asked for the quote, as your compose file grants"
	}
	switch {
	case !bytes.Equal(want[:], f.verdict.ReportData):
		return fails("data", vm.Refuse(vm.CodeReportData, "the quote is not about the %s beside it", what).
			On("report_data", hex.EncodeToString(f.verdict.ReportData), hex.EncodeToString(want[:])).
			Try("quote and data were taken from different answers, or one was changed"))
	case f.want.Data == nil:
		return fact("data", who+"; its data is not compared: pass --data", "data %x", c.Data)
	case !bytes.Equal(f.want.Data, c.Data):
		return fails("data", vm.Refuse(vm.CodeReportData, "the quote is about other data than yours").
			On("data", hex.EncodeToString(c.Data), hex.EncodeToString(f.want.Data)).
			Try("pass the very bytes that the container quoted, in hex: of more than 64 it quotes a digest"))
	}
	return holds("data", who+", about your data", "data %x", c.Data)
}

// checkLog replays the application's log into the register that the quote names.
func (f *finding) checkLog() Check {
	c := f.answer.Container
	if c.Register == nil {
		return fact("log", "the quote is not about the application's log", "")
	}
	register, err := vm.ReplayApplication(c.Events)
	switch {
	case err != nil:
		return fails("log", vm.Refuse(vm.CodeEvents, "%v", err))
	case register != *c.Register:
		return fails("log", vm.Refuse(vm.CodeEvents, "the events are not those of the application's register").
			On("application_register", c.Register.String(), register.String()).
			Try("entries were left out, changed or added after the quote"))
	}
	f.application = c.Events
	return holds("log", fmt.Sprintf("the application's log is whole: %d entries since the boot", len(c.Events)), "%s", eventNames(c.Events))
}
