package vm

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

// The preimage is written out by hand here, so that a change of the format
// cannot go unnoticed.
func TestRuntimeEventPreimage(t *testing.T) {
	pre, _ := hex.DecodeString("01000008" + "3a" + hex.EncodeToString([]byte("compose-hash")) + "3a" + "c0ffee")
	if got, want := RuntimeEvent(EventCompose, []byte{0xc0, 0xff, 0xee}).Digest, Register(sha512.Sum384(pre)); got != want {
		t.Fatalf("digest %s, want %s", got, want)
	}
}

func TestReplayFoldsInOrder(t *testing.T) {
	a, b := RuntimeEvent("a", nil), RuntimeEvent("b", nil)
	ab, _ := Replay([]Event{a, b})
	ba, _ := Replay([]Event{b, a})
	if ab == ba {
		t.Fatal("the order of events does not matter")
	}
	if want := (Register{}).Extend(a.Digest).Extend(b.Digest); ab[3] != want || !ab[0].IsZero() {
		t.Fatalf("Replay = %v, want RTMR3 %s alone", ab, want)
	}
}

func TestReplayRefuses(t *testing.T) {
	tests := []struct {
		name    string
		events  []Event
		wantErr string
	}{
		{"register 4", []Event{{Register: 4}}, "want 0 to 3"},
		{"register -1", []Event{{Register: -1}}, "want 0 to 3"},
		{"too many", make([]Event, MaxEvents+1), "at most"},
	}
	for _, tt := range tests {
		if _, err := Replay(tt.events); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: Replay = %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
}

func TestCheckRuntime(t *testing.T) {
	good := RuntimeEvent("app", []byte("x"))
	tests := []struct {
		name    string
		change  func(*Event)
		wantErr string
	}{
		{"good", func(*Event) {}, ""},
		{"another register", func(e *Event) { e.Register = 2 }, "want RTMR3"},
		{"no name", func(e *Event) { e.Name = "" }, "event name"},
		{"long name", func(e *Event) { e.Name = strings.Repeat("n", MaxEventName+1) }, "event name"},
		{"long payload", func(e *Event) { e.Payload = make([]byte, MaxEventPayload+1) }, "payload"},
		{"another payload", func(e *Event) { e.Payload = []byte("y") }, "does not follow"},
		{"another name", func(e *Event) { e.Name = "apq" }, "does not follow"},
	}
	for _, tt := range tests {
		e := good
		tt.change(&e)
		err := e.CheckRuntime()
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: CheckRuntime = %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
}

func TestBootEventsEndWithBootComplete(t *testing.T) {
	files := HashOf([]byte("files"))
	with := testConfig()
	with.FilesHash = &files
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{testConfig(), "os-image-hash compose-hash config-hash boot-complete"},
		{with, "os-image-hash compose-hash docker-files-hash config-hash boot-complete"},
	} {
		events, err := BootEvents(HashOf([]byte("root")), tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range events {
			if err := e.CheckRuntime(); err != nil {
				t.Error(err)
			}
			names = append(names, e.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("events %q, want %q", got, tt.want)
		}
	}
}

func TestDigestText(t *testing.T) {
	good := HashOf(nil).String()
	tests := []struct{ name, in, wantErr string }{
		{"good", good, ""},
		{"short", good[2:], "want 64 hex digits"},
		{"capitals", strings.ToUpper(good), "lower-case"},
		{"not hex", "zz" + good[2:], "lower-case"},
	}
	for _, tt := range tests {
		h, err := ParseHash(tt.in)
		switch {
		case tt.wantErr == "" && (err != nil || h.String() != tt.in):
			t.Errorf("%s: ParseHash = %s, %v", tt.name, h, err)
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
			t.Errorf("%s: ParseHash = %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
	var r Register
	if err := json.Unmarshal([]byte(`"00"`), &r); err == nil {
		t.Error("a register of one byte was accepted")
	}
}

func TestReportDataIsInjective(t *testing.T) {
	spki := HashOf([]byte("key"))
	if AttestationReportData(spki, []byte("ab")) == AttestationReportData(spki, []byte("a")) {
		t.Error("two nonces give the same report data")
	}
	a := Release{ChainID: "c", InstanceID: "ab", HPKEKey: []byte("c")}
	b := Release{ChainID: "c", InstanceID: "a", HPKEKey: []byte("bc")}
	if a.ReportData() == b.ReportData() {
		t.Error("fields run into each other in a release's report data")
	}
}

func TestManifestRoundTrip(t *testing.T) {
	file := File{Name: "f", Size: 1, SHA256: HashOf(nil)}
	m := Manifest{Version: 1, Firmware: file, Kernel: file, Initramfs: file, Rootfs: file}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(b); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, in, wantErr string }{
		{"version", strings.Replace(string(b), `"version": 1`, `"version": 9`, 1), "version is 9"},
		{"unknown field", strings.Replace(string(b), `"version"`, `"sub": 1, "version"`, 1), "unknown field"},
		{"dev without its argument", strings.Replace(string(b), `"version"`, `"dev": true, "version"`, 1), "the command line says otherwise"},
		{"its argument without dev", strings.Replace(string(b), `"command_line": "`, `"command_line": "quiet secretvm.dev=1`, 1), "the command line says otherwise"},
		{"no digest", `{"version":1,"firmware":{"name":"f","size":1}}`, "lacks"},
	}
	for _, tt := range tests {
		if _, err := ParseManifest([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: ParseManifest = %v, want an error with %q", tt.name, err, tt.wantErr)
		}
	}
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	err := error(Refuse(CodeTCB, "platform is out of date").On("tcb_status", "OutOfDate", "UpToDate").Try("update the BIOS"))
	if got, want := err.Error(), "platform is out of date: tcb_status is OutOfDate, want UpToDate [tcb-not-accepted]"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if CodeOf(err) != CodeTCB {
		t.Errorf("CodeOf = %s", CodeOf(err))
	}
}
