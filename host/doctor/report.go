package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// State is the outcome of one check.
type State string

// The outcomes.
const (
	Fine    State = "fine"
	Lacking State = "lacking" // nothing starts before this is mended
	Noted   State = "noted"   // cannot be told, does not apply, or can be done without
)

// Check is one thing that was looked at. What is Lacking always has a Fix.
type Check struct {
	TEE   vm.TEE `json:"tee"` // soft: every machine needs it
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"`
}

// Report is what Judge made of a computer.
type Report struct {
	Ready  map[vm.TEE]bool `json:"ready"`
	Checks []Check         `json:"checks"`
}

// Judge says which machines the computer can run, and what the others lack.
func Judge(f Facts) Report {
	r := Report{Ready: map[vm.TEE]bool{}}
	soft := r.add(&f, vm.Soft, computer)
	r.Ready[vm.Soft] = soft
	// Confidential machines need KVM itself, which emulation does without.
	r.Ready[vm.TDX] = r.section(&f, vm.TDX, "GenuineIntel", intel) && soft
	r.Ready[vm.SNP] = r.section(&f, vm.SNP, "AuthenticAMD", amd) && soft
	return r
}

// processor is the check without which the others of its section mean nothing.
const processor = "processor"

type check struct {
	name  string
	judge func(*Facts) (state State, found, fix string)
}

// section is the checks of a TEE, or one line on another vendor's processor.
func (r *Report) section(f *Facts, tee vm.TEE, vendor string, checks []check) bool {
	if f.CPU.Vendor != vendor {
		found := "the processor is " + strings.TrimSpace(f.CPU.Name+" ("+f.CPU.Vendor+")")
		if f.CPU.Vendor == "" {
			found = "/proc/cpuinfo names no processor"
		}
		fix := map[vm.TEE]string{
			vm.TDX: "TDX is Intel's: Xeon of the 5th generation or later",
			vm.SNP: "SEV-SNP is AMD's: EPYC 7003 or later",
		}[tee]
		r.Checks = append(r.Checks, Check{tee, processor, Noted, found, fix})
		return false
	}
	return r.add(f, tee, checks)
}

func (r *Report) add(f *Facts, tee vm.TEE, checks []check) bool {
	ready := true
	for _, c := range checks {
		state, found, fix := c.judge(f)
		if state == Fine {
			fix = ""
		}
		ready = ready && state != Lacking
		r.Checks = append(r.Checks, Check{tee, c.name, state, found, fix})
		if c.name == processor && state == Lacking {
			break // nothing that could be switched on or installed would help
		}
	}
	return ready
}

// Of returns the report without the sections of other TEEs.
func (r Report) Of(tee vm.TEE) Report {
	kept := Report{Ready: r.Ready}
	for _, c := range r.Checks {
		if c.TEE == tee || c.TEE == vm.Soft {
			kept.Checks = append(kept.Checks, c)
		}
	}
	return kept
}

// Missing returns what keeps a TEE from starting, in order: what is lacking,
// and the processor of another vendor.
func (r Report) Missing(tee vm.TEE) (missing []Check) {
	if r.Ready[tee] {
		return nil
	}
	for _, c := range r.Of(tee).Checks {
		if c.State == Lacking || c.State == Noted && c.Name == processor && c.TEE == tee {
			missing = append(missing, c)
		}
	}
	return missing
}

var marks = map[State]string{Fine: "✓", Lacking: "✗", Noted: "·"}

// WriteTo writes a line for each check, one below it for what can be done, and
// last what can run. Fields of /proc are the computer's own words: nothing that
// moves a terminal's cursor is in them after this.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, " %s %-4s %-11s %s\n", marks[c.State], c.TEE, c.Name, printable(c.Found))
		if c.Fix != "" {
			fmt.Fprintf(&b, "        try: %s\n", printable(c.Fix))
		}
	}
	b.WriteByte('\n')
	for _, tee := range []vm.TEE{vm.Soft, vm.TDX, vm.SNP} {
		missing := r.Missing(tee)
		switch {
		case len(missing) == 0 && !r.Ready[tee]: // its section was left out
		case r.Ready[tee]:
			fmt.Fprintf(&b, "%-4s  this host can run it\n", tee)
		case len(missing) == 1:
			fmt.Fprintf(&b, "%-4s  not here: %s\n", tee, missing[0].Name)
		default:
			names := make([]string, len(missing))
			for i, c := range missing {
				names[i] = c.Name
			}
			fmt.Fprintf(&b, "%-4s  not here: %s\n", tee, strings.Join(names, ", "))
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
