package vm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name, text, wantErr string
	}{
		{"good", `{"A":"1","DB_PASSWORD":"x\ny"}`, ""},
		{"empty", `{}`, ""},
		{"file", `{"A":"1","secret:db.password":"aHVudGVyMg=="}`, ""},
		{"file of no name", `{"secret:../x":"aHVudGVyMg=="}`, "no name of a secret"},
		{"file not in base64", `{"secret:x":"hunter2"}`, "not base64"},
		{"null", `null`, "not a JSON object"},
		{"list", `["A=1"]`, "not a JSON object"},
		{"number", `{"A":1}`, "not a JSON object"},
		{"trailing", `{} {}`, "trail"},
		{"name", `{"a b":"1"}`, "letters, digits"},
		{"steers Docker", `{"DOCKER_HOST":"tcp://evil"}`, "container engine"},
		{"steers the loader", `{"LD_PRELOAD":"/evil"}`, "container engine"},
		{"NUL", `{"A":"a\u0000b"}`, "NUL"},
		{"large", `{"A":"` + strings.Repeat("x", MaxEnvironment) + `"}`, "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := ParseEnvironment([]byte(tt.text))
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error is %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := e.Encode()
			if err != nil || string(again) != tt.text {
				t.Errorf("encodes to %s, %v; want %s", again, err, tt.text)
			}
		})
	}
}

func TestEnvironmentIsSecretAndMeasured(t *testing.T) {
	e := Environment{"TOKEN": "hunter2", "OTHER": "x", "A": "1"}
	set, others := e.Allowed([]string{"A", "TOKEN", "UNSET"})
	if !slices.Equal(set, []string{"A=1", "TOKEN=hunter2"}) || !slices.Equal(others, []string{"OTHER"}) {
		t.Errorf("set %q, left out %q", set, others)
	}
	e.SetSecret("TOKEN", []byte("\x00file"))
	if content, sealed := e.Secret("TOKEN"); !sealed || string(content) != "\x00file" {
		t.Errorf("the file is %q, %v", content, sealed)
	}
	if again, others := e.Allowed([]string{"A", "TOKEN", "secret:TOKEN"}); !slices.Equal(again, set) || len(others) != 1 {
		t.Errorf("with a file: set %q, left out %q", again, others)
	}
	j, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(e), fmt.Sprintf("%v %+v %#v %s", e, e, e, e), string(j)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret is printed: %s", text)
		}
	}
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add([]byte(`{"A":"1"}`))
	f.Add([]byte(`{"LD_X":"1"}`))
	f.Add([]byte(`{"secret:x":"eA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEnvironment(b)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil {
			return // escaping may make it longer than is allowed
		}
		if back, err := ParseEnvironment(again); err != nil || len(back) != len(e) {
			t.Errorf("reads back as %d variables, %v; want %d", len(back), err, len(e))
		}
	})
}
