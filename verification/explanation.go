package verification

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/vm"
)

// Reason is one check that fails, with everything that helps to find out why.
type Reason struct {
	Check       Check                 `json:"check"`
	Means       string                `json:"means"` // of the code
	Do          string                `json:"do"`
	Differences []eventlog.Difference `json:"differences,omitempty"` // event by event, of the registers that the check is about
	Unknown     string                `json:"unknown,omitempty"`     // why there are no differences, where they were to be expected
}

// registersOf the checks that events can explain.
var registersOf = map[string][]int{
	"kernel": {1, 2}, "hardware": {0}, "system": {vm.RuntimeRegister}, "workload": {vm.RuntimeRegister},
	"configuration": {vm.RuntimeRegister}, "boot": {vm.RuntimeRegister},
}

// Explain says why a report refuses. Predicted are the events of RTMR0 to
// RTMR2 that the wanted image measures on a machine of this size; nil where
// its files are not at hand.
func Explain(a Answer, want Wanted, r Report, predicted []vm.Event) (reasons []Reason) {
	for _, c := range r.Checks {
		if c.OK != Fails {
			continue
		}
		reason := Reason{Check: c}
		if e, ok := vm.Explain(c.Code); ok {
			reason.Means, reason.Do = e.Means, e.Do
		}
		if registers := registersOf[c.Name]; registers != nil && r.System == "" {
			reason.compare(a, want, r, predicted, registers)
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

// compare finds the events that differ in the given registers.
func (x *Reason) compare(a Answer, want Wanted, r Report, predicted []vm.Event, registers []int) {
	var wanted, seen []vm.Event
	if registers[0] == vm.RuntimeRegister {
		if seen = a.Attestation.Evidence.Events; len(seen) == 0 {
			x.Unknown = "no events came with the evidence"
			return
		}
		if wanted = wantedEvents(a, want); wanted == nil {
			x.Unknown = "what should have been measured is not known: the served configuration cannot be read"
			return
		}
	} else {
		wanted = predicted
		switch {
		case r.Machine == nil || len(r.Machine.BootLog) == 0:
			x.Unknown = "the machine did not send its boot log, so only whole registers can be compared"
			return
		case predicted == nil:
			x.Unknown = "pass the image's folder with --image to see which event differs"
			return
		}
		for _, e := range r.Machine.BootLog {
			seen = append(seen, vm.Event{Register: e.Register, Name: e.Name, Payload: []byte(e.Description), Digest: e.Digest})
		}
	}
	for _, d := range eventlog.Diff(wanted, seen) {
		if slices.Contains(registers, d.Register) {
			x.Differences = append(x.Differences, d)
		}
	}
}

// wantedEvents are those of a boot of the wanted image with the wanted
// workload; what the caller did not say is taken from the machine.
func wantedEvents(a Answer, want Wanted) []vm.Event {
	config, err := vm.ParseConfig(a.Config)
	if err != nil {
		return nil
	}
	var root vm.Hash
	for _, e := range a.Attestation.Evidence.Events {
		if e.Name == vm.EventImage && len(e.Payload) == len(root) {
			root = vm.Hash(e.Payload)
			break
		}
	}
	switch {
	case want.Manifest != nil:
		root = want.Manifest.Verity.RootHash
	case want.Wishes.RootHash != nil:
		root = *want.Wishes.RootHash
	}
	if h := want.composeHash(); h != nil {
		config.ComposeHash = *h
	}
	if h := want.filesHash(); h != nil {
		config.FilesHash = h
	}
	if want.Service != "" {
		config.Service = want.Service
	}
	if want.GroupKey != "" {
		config.KMS.GroupKey = want.GroupKey
	}
	events, err := vm.BootEvents(root, config)
	if err != nil {
		return nil
	}
	return events
}

// WriteReasons writes the explanation for people.
func WriteReasons(w io.Writer, r Report, reasons []Reason) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Verdict, printable(r.Summary))
	for _, x := range reasons {
		fmt.Fprintf(&b, "\n✗ %s: %s [%s]\n", x.Check.Name, printable(x.Check.What), x.Check.Code)
		if f := x.Check.Refusal; f != nil && f.Field != "" {
			fmt.Fprintf(&b, "    field   %s\n    found   %s\n    wanted  %s\n", printable(f.Field), printable(f.Found), printable(f.Wanted))
		}
		if x.Means != "" {
			fmt.Fprintf(&b, "    means   %s\n", x.Means)
		}
		if f := x.Check.Refusal; f != nil && f.Hint != "" {
			fmt.Fprintf(&b, "    do      %s\n", printable(f.Hint))
		}
		if x.Do != "" {
			fmt.Fprintf(&b, "    and     %s\n", x.Do)
		}
		for _, d := range x.Differences {
			fmt.Fprintf(&b, "    event   %s\n", printable(d.String()))
		}
		if x.Unknown != "" {
			fmt.Fprintf(&b, "    events  %s\n", x.Unknown)
		}
	}
	var open []Check
	for _, c := range r.Checks {
		if c.OK == Open {
			open = append(open, c)
		}
	}
	if len(open) > 0 && len(reasons) == 0 {
		b.WriteString("\nNothing was refused. Not compared:\n")
		for _, c := range open {
			fmt.Fprintf(&b, " · %-14s %s\n", c.Name, printable(c.What))
		}
	} else if len(reasons) == 0 {
		b.WriteString("\nNothing was refused, and nothing is left open.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
