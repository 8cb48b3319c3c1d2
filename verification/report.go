package verification

import (
	"fmt"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Outcome of one check. Its JSON form is true, false or null.
type Outcome int

// The outcomes. Open is the zero value: nothing was compared, or nothing could be.
const (
	Open Outcome = iota
	Holds
	Fails
)

// MarshalJSON writes true, false or null.
func (o Outcome) MarshalJSON() ([]byte, error) {
	switch o {
	case Holds:
		return []byte("true"), nil
	case Fails:
		return []byte("false"), nil
	}
	return []byte("null"), nil
}

// Check is one subject: what was looked at and what came of it.
type Check struct {
	Name    string      `json:"name"`
	OK      Outcome     `json:"ok"`
	What    string      `json:"what"`
	Detail  string      `json:"detail,omitempty"`
	Code    vm.Code     `json:"code,omitempty"`
	Refusal *vm.Refusal `json:"refusal,omitempty"` // field, found, wanted, hint, when it fails
}

// The verdicts of a Report.
const (
	Verified           = "VERIFIED"
	UnverifiedWorkload = "UNVERIFIED WORKLOAD" // genuine, but not compared with anything
	NotVerified        = "NOT VERIFIED"
	Unreachable        = "UNREACHABLE" // nothing could be asked
)

// Report is the outcome of one verification.
type Report struct {
	URL      string      `json:"url"`
	Time     time.Time   `json:"time"`
	Verdict  string      `json:"verdict"`
	Summary  string      `json:"summary"`
	System   string      `json:"system,omitempty"` // of another system's machine; empty for our own
	Soft     bool        `json:"soft"`
	Warnings []string    `json:"warnings,omitempty"`
	Anchor   *vm.Anchor  `json:"anchor,omitempty"` // what the verdict rests on
	TLSKey   vm.Hash     `json:"tls_key"`
	Checks   []Check     `json:"checks"`
	Machine  *vm.Verdict `json:"machine,omitempty"` // everything that was learnt; absent unless genuine

	Application []vm.Event `json:"application,omitempty"` // the application's log, where the quote is about it
}

// Unanswered is the report when Fetch returned err.
func Unanswered(a Address, err error, now time.Time) Report {
	refusal := refusalOf(err)
	r := Report{URL: a.String(), Time: now.UTC(), Verdict: NotVerified, Summary: refusal.Reason, Checks: []Check{fails("connection", refusal)}}
	if refusal.Code == vm.CodeUnavailable {
		r.Verdict = Unreachable
	}
	return r
}

// Check returns the named check, or one that is Open.
func (r Report) Check(name string) Check {
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return Check{Name: name}
}

// holds, fact and fails make the three kinds of check.
func holds(name, what, detail string, args ...any) Check {
	return Check{Name: name, OK: Holds, What: what, Detail: fmt.Sprintf(detail, args...)}
}

func fact(name, what, detail string, args ...any) Check {
	return Check{Name: name, What: what, Detail: fmt.Sprintf(detail, args...)}
}

func fails(name string, r *vm.Refusal) Check {
	return Check{Name: name, OK: Fails, What: r.Reason, Code: r.Code, Refusal: r}
}

// short abbreviates hex for people; comparisons never use it.
func short(s fmt.Stringer) string { return s.String()[:12] + "…" }
