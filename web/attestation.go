package web

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/vm"
)

//go:embed attestation.html
var attestationSource string

// AttestationPage is what the attestation service shows a person.
type AttestationPage struct {
	TEE         vm.TEE
	Host        string // host[:port] as the reader's browser named it, vetted; empty: unknown
	Config      vm.Config
	ConfigHash  vm.Hash
	Measurement vm.Measurement
	Events      []vm.Event
	TLSKey      vm.Hash
	Compose     []byte // nil: closed
	Workload    string // "running" …; may be empty
	Uptime      time.Duration
	Boot        []BootStep
}

// BootStep is one stage of the boot.
type BootStep struct {
	Name   string
	Took   time.Duration
	Failed bool
}

var functions = template.FuncMap{
	"style":    func() template.CSS { return template.CSS(style) }, // ours, embedded: not input
	"ms":       func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) },
	"hex":      func(b []byte) string { return hex.EncodeToString(b) },
	"text":     func(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") },
	"meaning":  eventMeaning,
	"hardware": hardware,
	"soft":     soft,
}

var attestationTemplate = template.Must(template.New("attestation").Funcs(functions).Parse(attestationSource))

// Render writes the page as UTF-8 HTML.
func (p AttestationPage) Render(w io.Writer) error {
	if err := attestationTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("render attestation page: %w", err)
	}
	return nil
}

// Soft reports whether the page must shout that nothing here is confidential.
func (p AttestationPage) Soft() bool { return soft(p.TEE) }

// soft counts whatever is not known to be real as soft.
func soft(t vm.TEE) bool { return t != vm.TDX && t != vm.SNP }

// Address is the URL for the command on the page.
func (p AttestationPage) Address() string {
	if p.Host == "" {
		return "https://ADDRESS-OF-THIS-MACHINE:29343"
	}
	return "https://" + p.Host
}

// Alive is the uptime in words.
func (p AttestationPage) Alive() string {
	d := p.Uptime.Round(time.Second)
	days := d / (24 * time.Hour)
	d -= days * 24 * time.Hour
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, d/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// BootTime is the sum of the steps.
func (p AttestationPage) BootTime() (sum time.Duration) {
	for _, s := range p.Boot {
		sum += s.Took
	}
	return sum
}

// EndpointRow is one of the endpoints that the owner may open.
type EndpointRow struct {
	Name, Path, About string
	Open              bool
}

// Endpoints are those that the owner may open, and whether it is so.
func (p AttestationPage) Endpoints() []EndpointRow {
	rows := []EndpointRow{
		{Name: "docker-compose", Path: "docker-compose.html", About: "the compose file, byte for byte"},
		{Name: "services", Path: "services.html", About: "names of the containers"},
		{Name: "logs", Path: "logs.html", About: "what system and containers log"},
		{Name: "resources", Path: "resources.html", About: "memory, disk and processor in use"},
		{Name: "metrics", Path: "metrics", About: "for Prometheus"},
	}
	for i := range rows {
		rows[i].Open = slices.Contains(p.Config.Open, strings.TrimPrefix(rows[i].Name, "docker-"))
	}
	return rows
}

// RegisterRow is one register with its explanation.
type RegisterRow struct {
	Name, Meaning string
	Value         vm.Register
}

// Registers are the identity registers in the order in which they fill.
func (p AttestationPage) Registers() []RegisterRow {
	m := p.Measurement
	return []RegisterRow{
		{"MRTD", "The firmware that the machine started with.", m.MRTD},
		{"RTMR0", "The virtual hardware: processors, memory, tables that the firmware was given.", m.RTMR[0]},
		{"RTMR1", "The kernel.", m.RTMR[1]},
		{"RTMR2", "The kernel's command line and the initramfs. The command line names the root file system's digest.", m.RTMR[2]},
		{"RTMR3", "The events listed above, folded one into the next.", m.RTMR[3]},
		{"MR_CONFIG_ID", "The configuration's digest, fixed when the machine was launched.", m.MRConfigID},
	}
}
