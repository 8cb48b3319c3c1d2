package verifier

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
	"github.com/secretvm/secretvm/web/chromium"
)

// visit opens the built page, from a plain file server on this computer.
func visit(t *testing.T) (*chromium.Browser, string) {
	t.Helper()
	b := chromium.Start(t) // skips before anything is built
	s := httptest.NewServer(http.FileServer(http.Dir(built(t))))
	t.Cleanup(s.Close)
	b.Open(s.URL + "/")
	b.Await("document.body.dataset.ready")
	return b, s.URL
}

// kept writes a file for the browser to choose.
func kept(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// judged waits for the report that the page shows about the newest choice.
func judged(b *chromium.Browser) string {
	b.Await("document.querySelector('#result h2') && !document.querySelector('#result').ariaBusy && document.querySelector('#status').textContent === ''")
	return b.Text("document.querySelector('#result h2').textContent")
}

// lines is what the page shows, in the form of the command's text: a line a
// check with what differs below it, warnings, verdict and summary.
const lines = `(() => {
	const text = (e, s) => [...e.querySelectorAll(s)].map((x) => x.textContent);
	const out = [];
	for (const c of document.querySelectorAll('.check')) {
		const name = c.querySelector('.name').firstChild.textContent;
		out.push([c.querySelector('.mark').textContent, name, ...text(c, '.what'), ...text(c, '.detail')].join('|'));
		out.push(...text(c, '.pair'), ...text(c, '.try'));
	}
	const v = document.querySelector('.verdict');
	out.push(...text(v, '.shout, .warning'), v.querySelector('h2').textContent + ': ' + text(v, '.summary'));
	return out.join('\n');
})()`

// sameLines compares what the page shows with what the command prints, line by
// line; columns are parted by blanks on the terminal and by elements here.
func sameLines(t *testing.T, b *chromium.Browser, r verification.Report) {
	t.Helper()
	var text strings.Builder
	if err := r.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	squeeze := func(s string) string {
		return strings.Join(strings.Fields(strings.ReplaceAll(s, "|", " ")), " ")
	}
	want := strings.Split(strings.TrimSpace(text.String()), "\n")
	got := strings.Split(b.Text(lines), "\n")
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = squeeze(got[i])
		}
		if i < len(want) {
			w = squeeze(want[i])
		}
		if g != w {
			t.Errorf("line %d of the page:\n%s\nof the command:\n%s", i+1, g, w)
		}
	}
}

// quiet ends a visit: the console is empty, so the policy blocked nothing, and
// nothing was asked for outside the page's own folder and what allowed names.
func quiet(t *testing.T, b *chromium.Browser, allowed ...string) {
	t.Helper()
	if len(b.Complaints) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.Complaints, "\n"))
	}
next:
	for _, url := range b.Requests {
		for _, prefix := range append(allowed, "data:", "about:") {
			if strings.HasPrefix(url, prefix) {
				continue next
			}
		}
		t.Errorf("the page asked for %s", url)
	}
}

func TestPageJudgesBundle(t *testing.T) {
	b, page := visit(t)
	m := machinetest.Boot(t)
	a, w := recorded(t, m)
	bundle := bundleOf(t, a, w)
	path := kept(t, "bundle.zip", bundle)
	opened, want, err := verification.OpenBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}

	// From here on there is no network: everything is loaded.
	b.Call("Network.emulateNetworkConditions", map[string]any{"offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})

	// S1: the bundle's own root is shown, and not trusted.
	b.Choose("#file", path)
	if got := judged(b); got != verification.NotVerified {
		t.Errorf("with a root that nobody named: %s", got)
	}
	sameLines(t, b, verification.Appraise(opened, want))
	if shown := b.Text("document.querySelector('#bundle-root-list').textContent"); !strings.Contains(shown, "INSECURE") {
		t.Errorf("the bundle's root is not shown: %q", shown)
	}

	// The visitor decides to trust it: the machine's kind is shouted.
	b.Evaluate("document.querySelector('#trust-bundle-roots').click()")
	b.Await("document.querySelector('#result .verdict.open')") // a soft TEE is never green
	want.Roots = want.BundleRoots
	sameLines(t, b, verification.Appraise(opened, want))
	if shout := b.Text("document.querySelector('#result .shout').textContent"); !strings.Contains(shout, "NO CONFIDENTIALITY") {
		t.Errorf("the soft TEE is not shouted: %q", shout)
	}
	if level, _ := b.Evaluate("parseFloat(getComputedStyle(document.querySelector('#result h2')).fontSize)").(float64); level < 20 {
		t.Errorf("the verdict is %v pixels large", level)
	}
	if b.Evaluate("document.activeElement === document.querySelector('#result h2')") != true {
		t.Error("the verdict has not the focus: a screen reader does not say it")
	}
	if got := b.Evaluate("document.querySelectorAll('#result details .rows li').length"); got != float64(len(m.Events)) {
		t.Errorf("%v events are shown, want %d", got, len(m.Events))
	}

	b.Evaluate("document.querySelector('#result details:has(.exhibit)').open = true")
	b.Await("document.querySelectorAll('#result .exhibit section').length > 3")
	if shown := b.Text("document.querySelector('#result .exhibit').textContent"); !strings.Contains(shown, "NOT VERIFIED") || !strings.Contains(shown, "PCK Certificate") {
		t.Errorf("the parts of the evidence: %.300s", shown)
	}

	// Another bundle does not inherit that trust.
	b.Drop("#drop", kept(t, "again.zip", bundle))
	b.Await("document.querySelector('#result .verdict.bad')")
	if b.Evaluate("document.querySelector('#trust-bundle-roots').checked") != false {
		t.Error("trust in one bundle's root carries over to the next")
	}
	quiet(t, b, page)
}

// TestPageRefusesWhatWasChanged changes each part of the evidence.
func TestPageRefusesWhatWasChanged(t *testing.T) {
	b, page := visit(t)
	m := machinetest.Boot(t)
	root := kept(t, machinetest.RootName, m.PKI.RootPEM())
	b.Choose("#roots", root)
	for _, c := range []struct {
		name   string
		change func(*verification.Answer, *verification.Wanted)
	}{
		{"quote", func(a *verification.Answer, _ *verification.Wanted) { a.Attestation.Evidence.Quote[200] ^= 1 }},
		{"event", func(a *verification.Answer, _ *verification.Wanted) {
			a.Attestation.Evidence.Events[1].Payload[0] ^= 1
		}},
		{"config", func(a *verification.Answer, _ *verification.Wanted) { a.Config = append([]byte(" "), a.Config...) }},
		{"compose file", func(_ *verification.Answer, w *verification.Wanted) { w.Compose = append(w.Compose, '\n') }},
	} {
		a, w := recorded(t, m)
		a.Attestation.Evidence.Events = cloned(t, a.Attestation.Evidence.Events)
		c.change(&a, &w)
		bundle := bundleOf(t, a, w)
		b.Choose("#file", kept(t, "changed.zip", bundle))
		if got := judged(b); got != verification.NotVerified {
			t.Errorf("%s: %s", c.name, got)
		}
		opened, want, err := verification.OpenBundle(bundle)
		if err != nil {
			t.Fatal(err)
		}
		want.Roots = w.Roots
		sameLines(t, b, verification.Appraise(opened, want))
	}
	b.Choose("#file", kept(t, "broken.zip", []byte("PK\x03\x04 not a zip file")))
	if got := judged(b); got != verification.NotVerified {
		t.Errorf("a broken bundle: %s", got)
	}
	if text := b.Text("document.querySelector('#result').textContent"); !strings.Contains(text, "[malformed]") {
		t.Errorf("a broken bundle: %s", text)
	}
	quiet(t, b, page)
}

// TestA4_ReportIsText: what a machine says cannot become part of the page, nor
// write over what stands around it.
func TestA4_ReportIsText(t *testing.T) {
	b, page := visit(t)
	const hostile = "<img src=x onerror=alert(1)><script>alert(1)</script>\u202e\u0007"
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		s.Measured = func(events []vm.Event) []vm.Event { return append(events, vm.RuntimeEvent(hostile, []byte(hostile))) }
	})
	a, w := recorded(t, m)
	a.URL = hostile
	b.Choose("#roots", kept(t, machinetest.RootName, m.PKI.RootPEM()))
	b.Choose("#file", kept(t, "hostile.zip", bundleOf(t, a, w)))
	if got := judged(b); got != verification.NotVerified {
		t.Errorf("an event after the boot: %s", got)
	}
	shown := b.Text("document.querySelector('#result').textContent")
	if !strings.Contains(shown, "<img src=x") {
		t.Error("the hostile name is not shown: the test no longer reaches the page")
	}
	if strings.ContainsAny(shown, "\u202e\u0007") {
		t.Error("formatting characters reach the page")
	}
	if b.Evaluate("document.querySelector('#result img, #result script')") != nil {
		t.Error("a machine's words became elements")
	}
	quiet(t, b, page)
}

func cloned[T any](t *testing.T, v T) (out T) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPageJudgesRealQuote: a quote of a genuine Intel CPU, as a bundle and as
// an evidence file, at a time within its collateral's validity and beyond it.
func TestPageJudgesRealQuote(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	b, page := visit(t)
	v := tdxVectors[0]
	ev := v.evidence(t)
	a := verification.Answer{Attestation: vm.Attestation{Evidence: ev}}
	bundle := bundleOf(t, a, verification.Wanted{Time: v.at})
	b.Choose("#file", kept(t, "genuine.zip", bundle))
	if got := judged(b); got != verification.UnverifiedWorkload {
		t.Errorf("a genuine quote without comparisons: %s", got)
	}
	opened, want, err := verification.OpenBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	report := verification.Appraise(opened, want)
	sameLines(t, b, report)
	if report.Anchor == nil || !report.Anchor.Intel || b.Evaluate("document.querySelector('#result .shout')") != nil {
		t.Error("Intel's machine is taken for a soft TEE")
	}

	document, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	b.Drop("#drop", kept(t, "evidence.json", document))
	if got := judged(b); got != verification.NotVerified { // its collateral has expired since
		t.Errorf("the same, as of now: %s", got)
	}
	b.Evaluate(`(() => { const at = document.querySelector('#time'); at.value = '2025-07-01T00:00'; at.dispatchEvent(new Event('change')); })()`)
	if got := judged(b); got != verification.UnverifiedWorkload {
		t.Errorf("the same, as of its time: %s", got)
	}
	file, _, err := verification.Recognise(document)
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, b, verification.Appraise(file, verification.Wanted{Time: v.at}))

	// SEV-SNP, whose numbers are larger than JavaScript's.
	b.Evaluate(`(() => { const at = document.querySelector('#time'); at.value = ''; at.dispatchEvent(new Event('change')); })()`)
	ev, want = snpVector(t)
	b.Choose("#file", kept(t, "snp.zip", bundleOf(t, verification.Answer{Attestation: vm.Attestation{Evidence: ev}}, want)))
	if got := judged(b); got != verification.UnverifiedWorkload {
		t.Errorf("a genuine SEV-SNP report: %s", got)
	}
	facts := verification.Appraise(verification.Answer{Attestation: vm.Attestation{Evidence: ev}}, want).Machine
	if facts == nil || facts.SNP == nil {
		t.Fatal("the vector is not accepted any more")
	}
	shown := b.Text("document.querySelector('#result details').textContent")
	for _, want := range []string{fmt.Sprintf("%#x", facts.SNP.ReportedTCB), facts.SNP.Measurement.String(), facts.SNP.HostData.String(), facts.SNP.SignedBy} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page does not show %s: %s", want, shown)
		}
	}
	if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
		b.Evaluate("document.querySelector('#result details').open = true")
		b.Screenshot(filepath.Join(folder, "verifier-snp.png"))
	}
	quiet(t, b, page)
}

// TestPageAsksMachine: the page asks a running machine for fresh evidence and
// nothing else, and does not claim what it cannot see.
func TestPageAsksMachine(t *testing.T) {
	b, page := visit(t)
	m := machinetest.Boot(t)
	server, url := m.Serve(t, nil)
	dir := t.TempDir()
	m.Write(t, dir)
	b.Choose("#roots", filepath.Join(dir, machinetest.RootName))
	b.Choose("#compose", filepath.Join(dir, machinetest.ComposeName))
	b.Choose("#manifest", filepath.Join(dir, "manifest.json"))
	b.Evaluate("document.querySelector('#url').focus()")
	b.Call("Input.insertText", map[string]any{"text": url})
	b.Press("Enter")
	judged(b)
	marks := map[string]string{}
	raw := b.Text("JSON.stringify(Object.fromEntries([...document.querySelectorAll('.check')].map((c) => [c.dataset.check, c.querySelector('.mark').textContent])))")
	if err := json.Unmarshal([]byte(raw), &marks); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"connection": "·", "fresh": "✓", "quote": "✓", "workload": "✓", "system": "✓", "boot": "✓"} {
		if marks[name] != want {
			t.Errorf("%s is %q, want %q", name, marks[name], want)
		}
	}
	line := b.Text("document.querySelector('[data-check=connection]').textContent")
	if !strings.Contains(line, "browser") || !strings.Contains(line, server.TLSKey().String()) {
		t.Errorf("the line about the connection gives no reason, or no key to compare: %s", line)
	}
	quiet(t, b, page, url+"/attestation?nonce=", url+"/config")
	if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
		b.Screenshot(filepath.Join(folder, "verifier-asked.png"))
	}

	// Nobody there: said, with what to try.
	b.Evaluate("document.querySelector('#url').value = 'https://127.0.0.1:1'; document.querySelector('#ask button').click()")
	b.Await("document.querySelector('#result h2')?.textContent === 'UNREACHABLE'")
	if text := b.Text("document.querySelector('#result').textContent"); !strings.Contains(text, "accept once") {
		t.Errorf("an unreachable machine: %s", text)
	}
	if link := b.Text("document.querySelector('#result a.button').href"); link != "https://127.0.0.1:1/" {
		t.Errorf("the way to accept its certificate leads to %s", link)
	}
	if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
		b.Screenshot(filepath.Join(folder, "verifier-unreachable.png"))
	}
}

// TestPageIsForEveryone looks at the page as people do, on a phone and on a
// desktop, light and dark, with and without a report. With
// SECRETVM_SCREENSHOTS=<folder> it keeps what it saw.
func TestPageIsForEveryone(t *testing.T) {
	b, page := visit(t)
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Config.Images = "tag" })
	a, w := recorded(t, m)
	good := kept(t, "bundle.zip", bundleOf(t, a, w))
	w.Compose = []byte("services: {}\n")
	bad := kept(t, "other.zip", bundleOf(t, a, w))
	root := kept(t, machinetest.RootName, m.PKI.RootPEM())
	b.Press("Tab")
	if b.Evaluate("document.activeElement.id + getComputedStyle(document.querySelector('#drop')).outlineStyle") != "filesolid" {
		t.Error("the first stop of the keyboard is not the drop zone, or does not show")
	}
	b.Choose("#roots", root)
	for _, state := range []struct{ name, bundle, verdict string }{
		{"empty", "", ""}, {"verified", good, verification.Verified}, {"refused", bad, verification.NotVerified},
	} {
		if state.bundle != "" {
			b.Choose("#file", state.bundle)
			if got := judged(b); got != state.verdict {
				t.Errorf("%s: %s", state.name, got)
			}
			b.Evaluate("for (const d of document.querySelectorAll('#result details')) d.open = true")
			b.Await("document.querySelector('#result .exhibit section')")
		}
		for _, look := range chromium.Looks {
			name := look.Name + "-" + state.name
			b.Wear(look, "verifier-"+name)
			if small := b.Text(tooSmall); small != "" {
				t.Errorf("%s: too small for a finger: %s", name, small)
			}
			if pale := b.Text(tooPale); pale != "" {
				t.Errorf("%s: contrast below 4.5: %s", name, pale)
			}
		}
	}
	if unnamed := b.Text(`[...document.querySelectorAll('input')].filter((i) => !i.labels?.length).map((i) => i.id).join(' ')`); unnamed != "" {
		t.Errorf("inputs without a label: %s", unnamed)
	}
	quiet(t, b, page)
}

// tooSmall lists controls lower than 24 pixels (WCAG 2.2, 2.5.8), and tooPale
// text whose contrast with its background is below 4.5 (WCAG 2.2, 1.4.3).
const (
	tooSmall = `[...document.querySelectorAll('button, summary, input[type=text], .drop')]
		.filter((e) => e.offsetParent && e.getBoundingClientRect().height < 24).map((e) => e.textContent || e.id).join(', ')`
	tooPale = `(() => {
		const rgb = (c) => (c.match(/[\d.]+/g) ?? []).map(Number);
		const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
		const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
		const pale = new Set();
		for (const e of document.querySelectorAll('body *')) {
			if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
			const [x, y] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
			if ((Math.max(x, y) + .05) / (Math.min(x, y) + .05) < 4.5) pale.add(e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30));
		}
		return [...pale].join(', ');
	})()`
)
