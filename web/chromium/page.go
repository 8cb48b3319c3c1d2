package chromium

import (
	"encoding/base64"
	"fmt"
	"os"
	"time"
)

// patience bounds every wait: long, for a busy machine is no failure.
const patience = 3 * time.Minute

// Look sets the width in pixels (a phone's below 500) and the colour scheme,
// "light" or "dark".
func (b *Browser) Look(width int, scheme string) {
	b.t.Helper()
	b.Call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500})
	b.Call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// Open loads url and waits until everything of it is there.
func (b *Browser) Open(url string) {
	b.t.Helper()
	var navigated struct {
		ErrorText string `json:"errorText"`
	}
	b.decode(b.Call("Page.navigate", map[string]any{"url": url}), &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("browser: open %s: %s", url, navigated.ErrorText)
	}
	b.Await("document.readyState === 'complete'")
}

// Evaluate returns the value of a JavaScript expression as JSON has it; a
// promise is waited for. An exception ends the test.
func (b *Browser) Evaluate(expression string) any {
	b.t.Helper()
	var answer struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	b.decode(b.Call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}), &answer)
	if e := answer.Exception; e != nil {
		b.t.Fatalf("browser: %s: %s %s", expression, e.Text, e.Exception.Description)
	}
	return answer.Result.Value
}

// Text is Evaluate for an expression that is a string.
func (b *Browser) Text(expression string) string {
	b.t.Helper()
	text, ok := b.Evaluate(expression).(string)
	if !ok {
		b.t.Fatalf("browser: %s is no string", expression)
	}
	return text
}

// Await waits until condition, a JavaScript expression, is true.
func (b *Browser) Await(condition string) {
	b.t.Helper()
	for end := time.Now().Add(patience); b.Evaluate("Boolean("+condition+")") != true; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("browser: waited %v in vain for %s", patience, condition)
		}
	}
}

// Choose puts files, by their paths, into the file input that selector names.
func (b *Browser) Choose(selector string, paths ...string) {
	b.t.Helper()
	var document struct {
		Root struct {
			ID int `json:"nodeId"`
		} `json:"root"`
	}
	b.decode(b.Call("DOM.getDocument", nil), &document)
	var found struct {
		ID int `json:"nodeId"`
	}
	b.decode(b.Call("DOM.querySelector", map[string]any{"nodeId": document.Root.ID, "selector": selector}), &found)
	if found.ID == 0 {
		b.t.Fatalf("browser: nothing is %s", selector)
	}
	b.Call("DOM.setFileInputFiles", map[string]any{"nodeId": found.ID, "files": paths})
}

// Drop drags files onto the middle of the element that selector names.
func (b *Browser) Drop(selector string, paths ...string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	b.decode([]byte(b.Text(fmt.Sprintf(`(() => {
		const e = document.querySelector(%q); e.scrollIntoView();
		const r = e.getBoundingClientRect();
		return JSON.stringify({X: r.x + r.width / 2, Y: r.y + r.height / 2});
	})()`, selector))), &at)
	data := map[string]any{"items": []any{}, "files": paths, "dragOperationsMask": 1}
	for _, kind := range []string{"dragEnter", "dragOver", "drop"} {
		b.Call("Input.dispatchDragEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "data": data})
	}
}

// Press types one key, such as "Tab" or "Enter".
func (b *Browser) Press(key string) {
	b.t.Helper()
	code := map[string]int{"Tab": 9, "Enter": 13, " ": 32}[key]
	text := map[string]string{"Enter": "\r", " ": " "}[key]
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.Call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text})
		text = ""
	}
}

// Screenshot writes the whole page to a PNG file.
func (b *Browser) Screenshot(path string) {
	b.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	b.decode(b.Call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}), &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o600)
	}
	if err != nil {
		b.t.Fatal(fmt.Errorf("keep screenshot: %w", err))
	}
}
