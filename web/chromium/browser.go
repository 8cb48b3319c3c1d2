// Package chromium drives a headless Chromium, for tests of pages. Like
// httptest, it is imported by tests alone.
//
// It speaks the DevTools protocol over the pipe that --remote-debugging-pipe
// opens: JSON messages that end in a zero byte, read by the browser from
// descriptor 3 and written to 4.
package chromium

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Browser is one page in a browser of its own. What goes wrong ends the test.
type Browser struct {
	// Complaints is what the console said, as DevTools events: logs, errors,
	// exceptions, violations of a page's policy.
	Complaints []string

	// Requests lists the URLs that the page asked for, in order.
	Requests []string

	t       testing.TB
	to      *os.File
	from    chan message
	session string
	id      int
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// Start runs Chromium with an empty page until the test ends. The test is
// skipped, saying so, where Chromium is not installed. Certificates are not
// checked, as if somebody had accepted each.
func Start(t testing.TB) *Browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the page is not tried in a browser")
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+profile, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &Browser{t: t, to: ourOut, from: make(chan message, 1024)}
	t.Cleanup(func() {
		b.session = ""
		b.send("Browser.close", nil)
		ourOut.Close()
		time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // a browser that was asked to close may exit with any code
		ourIn.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has started
		remove(t, profile)
	})
	go b.listen(bufio.NewReader(ourIn))
	b.attach()
	return b
}

// remove deletes a profile, into which processes that are ending may still write.
func remove(t testing.TB, profile string) {
	var err error
	for range 20 {
		if err = os.RemoveAll(profile); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("the browser's profile stays behind: %v", err)
}

func (b *Browser) listen(r *bufio.Reader) {
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

// attach opens a session with a new page and asks for its console and requests.
func (b *Browser) attach() {
	var target struct {
		TargetID string `json:"targetId"`
	}
	b.decode(b.Call("Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	b.decode(b.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &attached)
	b.session = attached.SessionID
	for _, method := range []string{"Page.enable", "Runtime.enable", "Log.enable", "Network.enable", "DOM.enable"} {
		b.Call(method, nil)
	}
	b.Call("Security.setIgnoreCertificateErrors", map[string]any{"ignore": true})
}

func (b *Browser) send(method string, params map[string]any) {
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

// Call sends one command of the protocol and returns its result.
func (b *Browser) Call(method string, params map[string]any) json.RawMessage {
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

// next returns the next message, noting what the console says and what is
// asked for.
func (b *Browser) next(waitingFor string) message {
	b.t.Helper()
	select {
	case m, ok := <-b.from:
		if !ok {
			b.t.Fatalf("browser: ended during %s", waitingFor)
		}
		switch m.Method {
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled":
			b.Complaints = append(b.Complaints, string(m.Params))
		case "Network.requestWillBeSent":
			var sent struct {
				Request struct {
					URL string `json:"url"`
				} `json:"request"`
			}
			b.decode(m.Params, &sent)
			b.Requests = append(b.Requests, sent.Request.URL)
		}
		return m
	case <-time.After(patience):
		b.t.Fatalf("browser: no answer to %s", waitingFor)
		return message{}
	}
}

func (b *Browser) decode(raw json.RawMessage, v any) {
	b.t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		b.t.Fatal(err)
	}
}
