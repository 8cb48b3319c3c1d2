package eventlog_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/eventlog"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// getQuote is what dstack's guest agent answers.
type getQuote struct {
	Quote    string `json:"quote"`
	EventLog string `json:"event_log"`
}

func dstackQuote(t testing.TB, name string) (tdx.Quote, []byte) {
	t.Helper()
	var answer getQuote
	if err := json.Unmarshal(vectors.Read(t, "dstack/dstack/verifier/fixtures/"+name), &answer); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(answer.Quote)
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return q, []byte(answer.EventLog)
}

// Both forms of dstack's list, with digests and without, explain the quotes of
// real machines in all registers.
func TestDstackLogsExplainTheirQuotes(t *testing.T) {
	for name, want := range map[string]string{
		"quote-report.json":      "system-preparing app-id compose-hash instance-id boot-mr-done key-provider system-ready LIUM_MINER_HOTKEY",
		"tdx-lite-getquote.json": "system-preparing app-id compose-hash instance-id boot-mr-done os-image-hash key-provider storage-fs system-ready",
	} {
		q, text := dstackQuote(t, name)
		log, err := eventlog.ParseDstack(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Explains(q.Body.RTMR, 0, 1, 2, 3); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := log.Check(); err != nil && name == "quote-report.json" {
			t.Errorf("%s: %v", name, err)
		}
		var names []string
		for _, e := range log.Events() {
			if e.Register == 3 {
				names = append(names, e.Name)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: events %q, want %q", name, got, want)
		}
		// Another compose hash: refused where the digest is given, else another register.
		payloads, err := log.Runtime("compose-hash")
		if err != nil {
			t.Fatal(err)
		}
		compose := hex.EncodeToString(payloads["compose-hash"])
		changed := strings.Replace(string(text), `"`+compose+`"`, `"00`+compose[2:]+`"`, 1)
		if changed == string(text) {
			t.Fatalf("%s: no compose hash to change", name)
		}
		if other, err := eventlog.ParseDstack([]byte(changed)); err == nil && other.Explains(q.Body.RTMR, 3) == nil {
			t.Errorf("%s: a changed list explains the quote", name)
		}
	}
}

func TestParseDstackRefuses(t *testing.T) {
	runtime := vm.RuntimeEvent("app-id", []byte{1, 2})
	good := `{"imr":3,"event_type":134217729,"digest":"` + runtime.Digest.String() + `","event":"app-id","event_payload":"0102"}`
	for _, tt := range []struct {
		name, list, wantErr string
		code                vm.Code
	}{
		{"good", "[" + good + "]", "", ""},
		{"digest left out", `[{"imr":3,"event_type":134217729,"digest":"","event":"app-id","event_payload":"0102"}]`, "", ""},
		{"not JSON", "x", "dstack event log", vm.CodeMalformed},
		{"empty", "[]", "0 events", vm.CodeMalformed},
		{"trailing", "[" + good + "] x", "trailing", vm.CodeMalformed},
		{"too many", "[" + strings.Repeat(good+",", 4096) + good + "]", "events, want", vm.CodeMalformed},
		{"too large", strings.Repeat(" ", 2<<20), "at most", vm.CodeTooLarge},
		{"no register", `[{"event_type":4,"digest":""}]`, "names no register", vm.CodeMalformed},
		{"register 4", strings.Replace("["+good+"]", `"imr":3`, `"imr":4`, 1), "names no register", vm.CodeMalformed},
		{"runtime event of RTMR0", strings.Replace("["+good+"]", `"imr":3`, `"imr":0`, 1), "want RTMR3", vm.CodeMalformed},
		{"payload not hex", strings.Replace("["+good+"]", "0102", "zz", 1), "not hex", vm.CodeMalformed},
		{"another payload", strings.Replace("["+good+"]", "0102", "0103", 1), "does not follow", vm.CodeEvents},
		{"another name", strings.Replace("["+good+"]", `"app-id"`, `"compose-hash"`, 1), "does not follow", vm.CodeEvents},
		{"short digest", strings.Replace("["+good+"]", runtime.Digest.String(), "00", 1), "want 96 hex", vm.CodeMalformed},
		{"firmware event without digest", `[{"imr":0,"event_type":4,"digest":"","event_payload":"00000000"}]`, "no digest", vm.CodeMalformed},
	} {
		_, err := eventlog.ParseDstack([]byte(tt.list))
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr) || vm.CodeOf(err) != tt.code) {
			t.Errorf("%s: ParseDstack = %v, want %q [%s]", tt.name, err, tt.wantErr, tt.code)
		}
	}
	log, err := eventlog.ParseDstack([]byte("[" + good + "," + good + "]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Runtime("app-id"); vm.CodeOf(err) != vm.CodeEvents {
		t.Errorf("an event that comes twice: %v, want it refused", err)
	}
	if _, err := log.Runtime("compose-hash"); err != nil {
		t.Error(err)
	}
}

func FuzzParseDstack(f *testing.F) {
	f.Add([]byte(`[{"imr":3,"event_type":134217729,"digest":"","event":"a","event_payload":"00"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		log, err := eventlog.ParseDstack(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		_ = log.Check()
		_ = log.Describe()
		_ = log.Replay()
	})
}
