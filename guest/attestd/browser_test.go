package attestd

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPageInBrowser opens the page of a running service in a real browser, at
// the width of a phone and of a desktop, light and dark: nothing scrolls
// sideways, the console stays empty, the policy blocks nothing of ours.
// SECRETVM_SCREENSHOTS=<folder> keeps what it saw.
func TestPageInBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the page is not tried in a browser")
	}
	_, url, _ := serve(t, testOptions(t, "compose"))
	b := startBrowser(t, chromium)
	for _, c := range []struct {
		name, scheme string
		width        int
	}{
		{"phone-light", "light", 360}, {"phone-dark", "dark", 360}, {"desktop-light", "light", 1280}, {"desktop-dark", "dark", 1280},
	} {
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": c.width, "height": 800, "deviceScaleFactor": 1, "mobile": c.width < 500})
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": c.scheme}}})
		b.open(url + "/")
		if got := b.evaluate("document.querySelector('h1').textContent"); got != "svm1owner/guestbook" {
			t.Errorf("%s: the heading is %v", c.name, got)
		}
		if got, _ := b.evaluate("document.documentElement.scrollWidth").(float64); got == 0 || got > float64(c.width) {
			t.Errorf("%s: the page is %v pixels wide, want at most %d", c.name, got, c.width)
		}
		// The style sheet is applied, so its digest is the policy's.
		if got := b.evaluate("getComputedStyle(document.querySelector('h1')).overflowWrap"); got != "anywhere" {
			t.Errorf("%s: the style sheet is not applied (overflow-wrap is %v)", c.name, got)
		}
		dark := b.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"
		if dark != (c.scheme == "dark") {
			t.Errorf("%s: dark colours: %v", c.name, dark)
		}
		if folder := os.Getenv("SECRETVM_SCREENSHOTS"); folder != "" {
			b.screenshot(filepath.Join(folder, "attestation-"+c.name+".png"))
		}
	}
	if len(b.complaints) != 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.complaints, "\n"))
	}
}

// browser speaks the DevTools protocol over the pipe that
// --remote-debugging-pipe opens: JSON messages that end in a zero byte, read
// by the browser from descriptor 3 and written to 4.
type browser struct {
	t          *testing.T
	to         *os.File
	from       chan message
	session    string
	id         int
	complaints []string
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func startBrowser(t *testing.T, chromium string) *browser {
	t.Helper()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, to: ourOut, from: make(chan message, 256)}
	t.Cleanup(func() { // before the folder of the profile goes
		b.session = ""
		b.send("Browser.close", nil)
		ourOut.Close()
		time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // a browser that was asked to close may exit with any code
		ourIn.Close()
	})
	go b.listen(bufio.NewReader(ourIn))
	b.attach()
	return b
}

func (b *browser) listen(r *bufio.Reader) {
	defer close(b.from)
	for {
		raw, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(raw[:len(raw)-1], &m) == nil {
			b.from <- m
		}
	}
}

// attach opens a session with a new page and asks for its console.
func (b *browser) attach() {
	var target struct {
		TargetID string `json:"targetId"`
	}
	b.decode(b.call("Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	b.decode(b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &attached)
	b.session = attached.SessionID
	for _, method := range []string{"Page.enable", "Runtime.enable", "Log.enable"} {
		b.call(method, nil)
	}
	b.call("Security.setIgnoreCertificateErrors", map[string]any{"ignore": true})
}

func (b *browser) send(method string, params map[string]any) {
	b.id++
	request := map[string]any{"id": b.id, "method": method}
	if params != nil {
		request["params"] = params
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	raw, err := json.Marshal(request)
	if err != nil {
		b.t.Error(err)
	}
	_, _ = b.to.Write(append(raw, 0)) // a browser that died shows in the answer that does not come
}

// call sends one command and waits for its answer, noting what the console
// says in between.
func (b *browser) call(method string, params map[string]any) json.RawMessage {
	b.t.Helper()
	b.send(method, params)
	for {
		m := b.next(method)
		if m.ID == b.id {
			if m.Error != nil {
				b.t.Fatalf("browser: %s: %s", method, m.Error)
			}
			return m.Result
		}
	}
}

func (b *browser) next(waitingFor string) message {
	b.t.Helper()
	select {
	case m, ok := <-b.from:
		if !ok {
			b.t.Fatalf("browser: ended during %s", waitingFor)
		}
		switch m.Method {
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled":
			b.complaints = append(b.complaints, string(m.Params))
		}
		return m
	case <-time.After(30 * time.Second):
		b.t.Fatalf("browser: no answer to %s", waitingFor)
		return message{}
	}
}

// open loads url and waits for its load event.
func (b *browser) open(url string) {
	b.t.Helper()
	var navigated struct {
		ErrorText string `json:"errorText"`
	}
	b.decode(b.call("Page.navigate", map[string]any{"url": url}), &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("browser: open %s: %s", url, navigated.ErrorText)
	}
	for b.evaluate("document.readyState") != "complete" {
		time.Sleep(10 * time.Millisecond)
	}
}

func (b *browser) evaluate(expression string) any {
	b.t.Helper()
	var answer struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
	}
	b.decode(b.call("Runtime.evaluate", map[string]any{"expression": expression}), &answer)
	return answer.Result.Value
}

func (b *browser) screenshot(path string) {
	b.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	b.decode(b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}), &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o600)
	}
	if err != nil {
		b.t.Fatal(fmt.Errorf("keep screenshot: %w", err))
	}
}

func (b *browser) decode(raw json.RawMessage, v any) {
	b.t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		b.t.Fatal(err)
	}
}
