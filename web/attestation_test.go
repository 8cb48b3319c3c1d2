package web

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

func page(t *testing.T) AttestationPage {
	t.Helper()
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: "svm1owner/guestbook",
		KMS:        vm.KMS{ChainID: "secretvm-local", GroupKey: strings.Repeat("8a", 96)},
		InstanceID: strings.Repeat("ab", 16), TLS: "self", Images: "digest", GPU: "none",
	}
	events, err := vm.BootEvents(vm.HashOf([]byte("root")), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return AttestationPage{
		TEE: vm.TDX, Host: "vm.example:29343", Config: cfg, Events: events, Workload: "running",
		Uptime: 90 * time.Second, Boot: []BootStep{{Name: "measure", Took: 1500 * time.Millisecond}},
	}
}

func render(t *testing.T, p AttestationPage) string {
	t.Helper()
	var b strings.Builder
	if err := p.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAttestationPageShows(t *testing.T) {
	p := page(t)
	closed := render(t, p)
	p.Config.API = vm.API{"web": {"info", "key/a"}}
	asked := render(t, p)
	p.Compose = []byte("services: {}\n")
	opened := render(t, p)
	p.TEE = vm.Soft
	soft := render(t, p)
	p.TEE = "unheard-of"
	unknown := render(t, p)
	const shout = "SOFT TEE: NOTHING HERE IS CONFIDENTIAL"
	for _, c := range []struct {
		name, html, text string
		want             bool
	}{
		{"service", closed, "svm1owner/guestbook", true},
		{"grants of containers", asked, "web: info, key/a. ", true},
		{"compose digest although closed", closed, p.Config.ComposeHash.String(), true},
		{"compose file although closed", closed, "services: {}", false},
		{"compose file when open", opened, "services: {}", true},
		{"command", closed, "  https://vm.example:29343 ", true},
		{"trust root on TDX", closed, "--trust-root", false},
		{"shout on TDX", closed, shout, false},
		{"shout on soft", soft, shout, true},
		{"trust root on soft", soft, "--trust-root dev-root.pem", true},
		{"shout on a TEE that is not known", unknown, shout, true},
		{"events", closed, "boot-complete", true},
		{"every event is explained", closed, "Not an event of the boot", false},
		{"uptime", closed, "1 min 30 s", true},
		{"boot step", closed, "1.5 s", true},
		{"script", opened, "<script", false},
		{"style attribute, which the policy would block", opened, "style=", false},
	} {
		if got := strings.Contains(c.html, c.text); got != c.want {
			t.Errorf("%s: page contains %q: %v, want %v", c.name, c.text, got, c.want)
		}
	}
}

// TestA4_PageEscapes puts hostile text into every value that an owner, a host
// or a client can choose.
func TestA4_PageEscapes(t *testing.T) {
	const hostile = `</code></pre><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "\xff\x00"
	p := page(t)
	p.TEE = vm.TEE(hostile)
	p.Host = hostile
	p.Config.Service, p.Config.InstanceID, p.Config.Images = hostile, hostile, hostile
	p.Config.KMS = vm.KMS{ChainID: hostile, GroupKey: hostile}
	p.Config.Open, p.Config.Egress = []string{hostile}, []string{hostile}
	p.Config.API = vm.API{hostile: {hostile}}
	p.Compose = []byte(hostile)
	p.Workload = hostile
	p.Events = []vm.Event{vm.RuntimeEvent(hostile, []byte(hostile))}
	p.Boot = []BootStep{{Name: hostile}}
	html := render(t, p)
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", `href="javascript`} {
		if strings.Contains(html, bad) {
			t.Errorf("page contains %q", bad)
		}
	}
	if n := strings.Count(html, "&lt;script&gt;"); n < 10 {
		t.Errorf("the hostile text appears escaped %d times: the test no longer reaches every value", n)
	}
	if got := elements(html); got != elements(render(t, benignTwin(p))) {
		t.Errorf("hostile values change the page's elements: %s", got)
	}
}

// benignTwin has the shape of p with harmless text.
func benignTwin(p AttestationPage) AttestationPage {
	p.TEE, p.Host, p.Workload, p.Compose = "x", "x", "x", []byte("x")
	p.Config.Service, p.Config.InstanceID, p.Config.Images = "x", "x", "x"
	p.Config.KMS = vm.KMS{ChainID: "x", GroupKey: "x"}
	p.Config.Open, p.Config.Egress = []string{"x"}, []string{"x"}
	p.Config.API = vm.API{"x": {"x"}}
	p.Events = []vm.Event{vm.RuntimeEvent("x", []byte("x"))}
	p.Boot = []BootStep{{Name: "x"}}
	return p
}

// elements lists the page's tags in order.
func elements(html string) string {
	return strings.Join(regexp.MustCompile(`</?[a-zA-Z][a-zA-Z0-9]*`).FindAllString(html, -1), "")
}

// TestPolicyMatchesStyle holds the digest in the policy against the bytes that
// the template really writes, which is what a browser digests.
func TestPolicyMatchesStyle(t *testing.T) {
	html := render(t, page(t))
	_, rest, found := strings.Cut(html, "<style>")
	written, _, closed := strings.Cut(rest, "</style>")
	if !found || !closed {
		t.Fatal("the page has no style element")
	}
	sum := sha256.Sum256([]byte(written))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(ContentSecurityPolicy, want) {
		t.Errorf("policy %q lacks %s", ContentSecurityPolicy, want)
	}
	for _, bad := range []string{"unsafe", "script-src", "*", "http"} {
		if strings.Contains(ContentSecurityPolicy, bad) {
			t.Errorf("policy %q contains %q", ContentSecurityPolicy, bad)
		}
	}
	if !strings.HasPrefix(ContentSecurityPolicy, "default-src 'none';") {
		t.Errorf("policy %q does not begin by forbidding everything", ContentSecurityPolicy)
	}
}

func TestAlive(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                         "0 s",
		59 * time.Second:          "59 s",
		61 * time.Second:          "1 min 1 s",
		3*time.Hour + time.Minute: "3 h 1 min",
		50 * time.Hour:            "2 d 2 h",
	} {
		if got := (AttestationPage{Uptime: d}).Alive(); got != want {
			t.Errorf("Alive(%v) = %q, want %q", d, got, want)
		}
	}
}

// TestA4_TextPageEscapes: a text stays a text.
func TestA4_TextPageEscapes(t *testing.T) {
	const hostile = "</code></pre><script>alert(1)</script>\n\xff\x00<img src=x onerror=alert(1)>"
	for _, p := range []TextPage{
		{TEE: vm.TDX, Service: hostile, Title: hostile, Path: "javascript:alert(1)", Text: []byte(hostile)},
		{TEE: vm.TEE(hostile), Service: hostile, Title: hostile, Meters: []Meter{{Name: hostile, Detail: hostile, Percent: []float64{-5, 50, 500}}}},
		{Service: "x", Meters: []Meter{{}}},
		{Service: "x"},
	} {
		var b strings.Builder
		if err := p.Render(&b); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"<script", "<img", "javascript:", "style="} {
			if strings.Contains(b.String(), bad) {
				t.Errorf("page contains %q:\n%s", bad, b.String())
			}
		}
		if p.TEE != vm.TDX && !strings.Contains(b.String(), "SOFT TEE") {
			t.Error("a page of a soft TEE does not say so")
		}
	}
}

func TestMeter(t *testing.T) {
	m := Meter{Percent: []float64{-5, 25.04, 500}}
	if got := m.Area(); got != "0,100 0,100.0 1,75.0 2,0.0 2,100" || m.Now() != 500 || m.Width() != 2 {
		t.Errorf("area %q, now %v, width %d", got, m.Now(), m.Width())
	}
	if got := (TextPage{Every: 5 * time.Second, Meters: []Meter{m}}).Before(); got != "10 s ago" {
		t.Errorf("before: %q", got)
	}
}
