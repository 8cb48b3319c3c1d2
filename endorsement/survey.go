package endorsement

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/secretvm/secretvm/endorsement/store"
	"github.com/secretvm/secretvm/vm"
)

// Inventory is what an archive or a cache holds.
type Inventory struct {
	Where      string     `json:"where"`
	Time       time.Time  `json:"time"` // what days left and expired refer to
	Objects    []Object   `json:"objects"`
	Recoveries []Recovery `json:"recoveries,omitempty"`
	Damaged    []string   `json:"damaged,omitempty"`
}

// Object is one line of an inventory.
type Object struct {
	Facts
	Request  string    `json:"request"`
	Source   string    `json:"source"`
	Fetched  time.Time `json:"fetched"`
	SHA256   vm.Hash   `json:"sha256"`
	Size     int       `json:"size"`
	DaysLeft *int      `json:"days_left,omitempty"` // whole days; below zero when expired
	Expired  bool      `json:"expired"`
}

// Recovery is a TCB recovery that the early set announces.
type Recovery struct {
	FMSPC   string `json:"fmspc"`
	Counts  int    `json:"evaluation"` // that counts today
	Early   int    `json:"early"`      // that will
	Message string `json:"message"`
}

// Survey lists what a holds. Nothing of it is verified.
func Survey(a *store.Archive, now time.Time) Inventory {
	entries, damaged := a.List()
	i := SurveyEntries(a.Name(), entries, now)
	for _, err := range damaged {
		i.Damaged = append(i.Damaged, err.Error())
	}
	return i
}

// SurveyEntries lists entries that are not in an archive, or not yet.
func SurveyEntries(where string, entries []store.Entry, now time.Time) Inventory {
	i := Inventory{Where: where, Time: now.UTC(), Objects: []Object{}}
	for _, e := range entries {
		i.add(e)
	}
	i.Recoveries = recoveries(i.Objects)
	return i
}

func (i *Inventory) add(e store.Entry) {
	facts, err := Describe(e)
	if err != nil {
		i.Damaged = append(i.Damaged, err.Error())
		return
	}
	o := Object{Facts: facts, Request: e.Request, Source: e.Source, Fetched: e.Fetched, SHA256: vm.HashOf(e.Body), Size: len(e.Body), Expired: facts.Expired(i.Time)}
	if !facts.Next.IsZero() {
		days := int(facts.Next.Sub(i.Time).Hours() / 24)
		o.DaysLeft = &days
	}
	i.Objects = append(i.Objects, o)
}

// recoveries compares, for each platform, the evaluation that counts with the
// early one.
func recoveries(objects []Object) (list []Recovery) {
	counts := map[string]int{}
	for _, o := range objects {
		if o.Kind == KindTCBInfo && !o.Early {
			counts[o.Subject] = max(counts[o.Subject], o.Evaluation)
		}
	}
	for _, o := range objects {
		today, known := counts[o.Subject]
		if o.Kind != KindTCBInfo || !o.Early || !known || o.Evaluation <= today {
			continue
		}
		list = append(list, Recovery{FMSPC: o.Subject, Counts: today, Early: o.Evaluation, Message: fmt.Sprintf(
			"a TCB recovery has been announced for FMSPC %s: evaluation %d follows %d. secretvm verify says whether a machine will fall out",
			o.Subject, o.Evaluation, today)})
	}
	return list
}

// WriteText writes a table for people, what is damaged and what is announced.
func (i Inventory) WriteText(out io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  \tVENDOR\tWHAT\tOF\tEVALUATION\tISSUED\tENDS\tLEFT")
	for _, o := range i.Objects {
		mark, evaluation, left := "✓", "", "–"
		if o.Evaluation > 0 {
			evaluation = fmt.Sprint(o.Evaluation)
		}
		if o.Early {
			evaluation += " early"
		}
		if o.DaysLeft != nil {
			left = fmt.Sprintf("%d days", *o.DaysLeft)
		}
		if o.Expired {
			mark, left = "✗", "EXPIRED"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, o.Vendor, o.Kind, o.Subject, evaluation, date(o.Issued), date(o.Next), left)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, d := range i.Damaged {
		fmt.Fprintf(&b, "✗ damaged: %s\n", d)
	}
	for _, r := range i.Recoveries {
		fmt.Fprintf(&b, "! %s\n", r.Message)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func date(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.DateOnly)
}
