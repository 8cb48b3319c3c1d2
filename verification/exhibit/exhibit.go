package exhibit

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// Exhibit is what one file or answer consists of.
type Exhibit struct {
	Form     string    `json:"form"`
	Sections []Section `json:"sections"`
}

// Section is one part of it.
type Section struct {
	Title string `json:"title"`
	Rows  []Row  `json:"rows"`
}

// Row is one field. Values are whole; a remark says what they mean.
type Row struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Remark string `json:"remark,omitempty"`
}

// Caution stands above and below whatever is shown.
const Caution = "decoded, NOT VERIFIED: anyone can write such bytes"

// row adds a field.
func (s *Section) row(name, format string, args ...any) {
	s.Rows = append(s.Rows, Row{Name: name, Value: fmt.Sprintf(format, args...)})
}

// remark adds a field with its meaning.
func (s *Section) remark(name, value, format string, args ...any) {
	s.Rows = append(s.Rows, Row{Name: name, Value: value, Remark: fmt.Sprintf(format, args...)})
}

// unread notes what could not be decoded.
func (s *Section) unread(what string, err error) { s.remark(what, "cannot be decoded", "%v", err) }

// Of decodes a file: a bundle, evidence in any form, collateral, certificates,
// revocation lists, a boot log.
func Of(b []byte) (Exhibit, error) {
	if verification.IsBundle(b) {
		answer, want, err := verification.OpenBundle(b)
		if err != nil {
			return Exhibit{}, err
		}
		e := OfAnswer(answer, "bundle of secretvm verify")
		e.Sections = append([]Section{bundle(answer, want)}, e.Sections...)
		return e, nil
	}
	for _, read := range []func([]byte) (Exhibit, bool){gpuFile, rimFile, material} {
		if e, ok := read(b); ok {
			return e, nil
		}
	}
	answer, form, err := verification.Recognise(b)
	if err != nil {
		if e, ok := tokenFile(b); ok {
			return e, nil
		}
		return Exhibit{}, err
	}
	return OfAnswer(answer, string(form)), nil
}

// OfAnswer decodes evidence and all that came with it.
func OfAnswer(a verification.Answer, form string) Exhibit {
	e := Exhibit{Form: form}
	ev := a.Attestation.Evidence
	add := func(sections ...Section) { e.Sections = append(e.Sections, sections...) }
	if a.Attestation.Nonce != "" || a.URL != "" {
		add(answer(a))
	}
	switch ev.TEE {
	case vm.SNP:
		add(snpSections(ev)...)
	case vm.SGX:
		add(sgxSections(ev)...)
	default:
		add(tdxSections(ev)...)
	}
	if ev.Collateral != nil {
		add(collateralSections(*ev.Collateral, ev.TEE)...)
	}
	if len(ev.BootLog) > 0 {
		add(bootLog(ev.BootLog))
	}
	if len(a.Log) > 0 {
		add(dstackLog(a.Log))
	}
	if len(ev.Events) > 0 {
		add(events(ev.Events))
	}
	if ev.GPU != nil {
		add(gpuSections(*ev.GPU)...)
	}
	if len(a.Config) > 0 {
		s := Section{Title: "Configuration, as served"}
		s.row("config-hash", "%s", vm.HashOf(a.Config))
		s.row("document", "%s", a.Config)
		add(s)
	}
	return e
}

func answer(a verification.Answer) Section {
	s := Section{Title: "Answer"}
	if a.URL != "" {
		s.row("URL", "%s", a.URL)
		s.row("TLS key", "%s", a.TLSKey)
		s.row("nonce asked", "%s", hex.EncodeToString(a.Nonce))
		s.row("asked", "%s, answered in %d ms", moment(a.Asked), a.Took.Milliseconds())
	}
	s.row("nonce claimed", "%s", a.Attestation.Nonce)
	s.row("TLS key claimed", "%s", a.Attestation.TLSKey)
	return s
}

func bundle(a verification.Answer, w verification.Wanted) Section {
	s := Section{Title: "What its maker wanted"}
	s.row("judged at", "%s", moment(w.Time))
	if w.Compose != nil {
		s.row("compose file", "%d bytes, sha256 %s", len(w.Compose), vm.HashOf(w.Compose))
	}
	if w.Files != nil {
		s.row("files", "%d bytes, sha256 %s", len(w.Files), vm.HashOf(w.Files))
	}
	if m := w.Manifest; m != nil {
		s.row("image", "%s %s, root hash %s", m.Name, m.Release, m.Verity.RootHash)
	}
	if w.Service != "" {
		s.row("service", "%s", w.Service)
	}
	for _, c := range w.BundleRoots {
		s.remark("root", c.Subject.String(), "sha256 %s; not accepted unless you name it", vm.HashOf(c.Raw))
	}
	return s
}

// WriteText writes the exhibit for people, between two cautions.
func (e Exhibit) WriteText(w io.Writer, colour bool) error {
	paint := func(code, s string) string {
		if !colour {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", printable(e.Form), paint("1;33", Caution))
	for _, s := range e.Sections {
		fmt.Fprintf(&b, "\n%s\n", paint("1", printable(s.Title)))
		width := 18
		for _, r := range s.Rows {
			width = min(28, max(width, len(printable(r.Name))))
		}
		for _, r := range s.Rows {
			line := fmt.Sprintf("  %-*s %s", width, printable(r.Name), printable(r.Value))
			if r.Remark != "" {
				line += "  " + paint("2", printable(r.Remark))
			}
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", paint("1;33", Caution))
	_, err := io.WriteString(w, b.String())
	return err
}

// maxShown bounds one value on the terminal, in characters.
const maxShown = 2000

func printable(s string) string { return verification.Printable(s, maxShown) }

func moment(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
