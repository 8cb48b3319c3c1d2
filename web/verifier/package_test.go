package verifier

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// engine runs the built package somewhere and calls a function of it.
type engine func(t testing.TB, r request) made

// inEngines runs test in Node and in Chromium, whichever is installed; a
// missing one is skipped, saying so.
func inEngines(t *testing.T, test func(*testing.T, engine)) {
	t.Run("node", func(t *testing.T) { test(t, inNode(t)) })
	t.Run("chromium", func(t *testing.T) { test(t, inChromium(t)) })
}

// request is one call of a function of the package. Bytes travel in base64.
type request struct {
	Operation string         `json:"operation"`
	Input     any            `json:"input"`
	Wanted    map[string]any `json:"wanted,omitempty"`
}

// made is what the function returned or threw.
type made struct {
	Report   json.RawMessage  `json:"report"`
	Text     string           `json:"text"`
	Contents *Contents        `json:"contents"`
	Shown    *exhibit.Exhibit `json:"shown"`
	Refusal  *vm.Refusal      `json:"refusal"`
	Thrown   string           `json:"thrown"`
}

func inChromium(t *testing.T) engine {
	t.Helper()
	b, _ := visit(t)
	script, err := os.ReadFile("testdata/perform.mjs")
	if err != nil {
		t.Fatal(err)
	}
	perform := strings.Replace(string(script), "export async function", "async function", 1)
	return func(t testing.TB, r request) (m made) {
		t.Helper()
		call, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		result := b.Text("(async () => { " + perform + "\nreturn JSON.stringify(await perform(await import('./package/index.js'), " + string(call) + ")); })()")
		if err := json.Unmarshal([]byte(result), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func inNode(t *testing.T) engine {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the package is not tried in it")
	}
	cmd := exec.Command(path, "testdata/serve.mjs", filepath.Join(built(t), "package"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
			t.Errorf("node: %v\n%s", err, &complaints)
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	return func(t testing.TB, r request) (m made) {
		t.Helper()
		if err := json.NewEncoder(in).Encode(r); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("node ended: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
}

// same compares a report from WebAssembly with the native one, every field.
func same(t testing.TB, name string, got made, native verification.Report) {
	t.Helper()
	b, err := json.Marshal(native)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(values(t, got.Report), values(t, b)) {
		t.Errorf("%s: WebAssembly says\n%s (%s)\nnative code says\n%s", name, got.Report, got.Thrown, b)
	}
	var text strings.Builder
	if err := errors.Join(native.WriteText(&text, false), native.WriteFacts(&text)); err != nil {
		t.Fatal(err)
	}
	if got.Text != text.String() {
		t.Errorf("%s: WebAssembly writes\n%s\nnative code writes\n%s", name, got.Text, &text)
	}
}

// values decodes JSON; numbers become their digits, for JavaScript cannot hold
// large ones and the package makes strings of them.
func values(t testing.TB, b []byte) any {
	t.Helper()
	if len(b) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var digits func(any) any
	digits = func(v any) any {
		switch v := v.(type) {
		case json.Number:
			return v.String()
		case []any:
			for i := range v {
				v[i] = digits(v[i])
			}
		case map[string]any:
			for name := range v {
				v[name] = digits(v[name])
			}
		}
		return v
	}
	return digits(v)
}

// TestPackage calls each function of the package.
func TestPackage(t *testing.T) { inEngines(t, testPackage) }

func testPackage(t *testing.T, call engine) {
	m := machinetest.Boot(t)
	a, w := recorded(t, m)
	bundle := bundleOf(t, a, w)
	opened, want, err := verification.OpenBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "bundle, root not trusted", call(t, request{"verifyBundle", bundle, nil}), verification.Appraise(opened, want))
	want.Roots = want.BundleRoots
	same(t, "bundle", call(t, request{"verifyBundle", bundle, map[string]any{"trustBundleRoots": true}}), verification.Appraise(opened, want))
	same(t, "bundle, root named", call(t, request{"verifyBundle", bundle, map[string]any{"trustRoots": m.PKI.RootPEM()}}), verification.Appraise(opened, want))

	at := time.Now().UTC().Truncate(time.Second)
	attestation, err := json.Marshal(a.Attestation)
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := verification.Recognise(attestation)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := m.Manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "evidence", call(t, request{"verifyEvidence", attestation, map[string]any{
		"trustRoots": m.PKI.RootPEM(), "compose": m.Compose, "manifest": manifest, "service": m.Config.Service, "time": at,
	}}), verification.Appraise(file, verification.Wanted{Roots: m.Roots(), Compose: m.Compose, Manifest: &m.Manifest, Service: m.Config.Service, Time: at}))

	if got := call(t, request{"bundleContents", bundle, nil}); got.Contents == nil || len(got.Contents.Roots) != 1 {
		t.Errorf("contents: %+v", got)
	}
	if want, err := exhibit.Of(bundle); err != nil || !reflect.DeepEqual(call(t, request{"show", bundle, nil}).Shown, &want) {
		t.Errorf("what WebAssembly shows of a bundle is not what native code shows (%v)", err)
	}
	for _, c := range []struct {
		name    string
		request request
		code    vm.Code
		thrown  string
	}{
		{"no bundle", request{"verifyBundle", []byte("PK"), nil}, vm.CodeMalformed, "VerifyError"},
		{"no evidence", request{"verifyEvidence", []byte("{}"), nil}, vm.CodeMalformed, "VerifyError"},
		{"empty compose file", request{"verifyBundle", bundle, map[string]any{"service": strings.Repeat("x", 2000)}}, vm.CodeTooLarge, "VerifyError"},
		{"unheard-of option", request{"verifyBundle", bundle, map[string]any{"compsoe": "x"}}, "", "TypeError: there is no option compsoe"},
		{"not https", request{"verifyURL", "http://vm.example", nil}, vm.CodeInvalid, "VerifyError"},
	} {
		got := call(t, c.request)
		if !strings.HasPrefix(got.Thrown, c.thrown) || c.code != "" && (got.Refusal == nil || got.Refusal.Code != c.code) {
			t.Errorf("%s: %s %+v, want %s %s", c.name, got.Thrown, got.Refusal, c.thrown, c.code)
		}
	}
	got := call(t, request{"verifyURL", "https://127.0.0.1:1", nil})
	var report struct{ Verdict string }
	if json.Unmarshal(got.Report, &report) != nil || report.Verdict != verification.Unreachable {
		t.Errorf("nobody there: %s %s", got.Report, got.Thrown)
	}
}
