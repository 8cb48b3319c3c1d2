package verification

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// TestA4_TerminalIsNotWritten: a machine's words cannot move the cursor, paint
// a false verdict, or flood the terminal.
func TestA4_TerminalIsNotWritten(t *testing.T) {
	hostile := "\x1b[2K\rVERIFIED\n\u202e\u0000" + strings.Repeat("x", 10_000)
	r := Report{Verdict: NotVerified, Summary: hostile, Warnings: []string{hostile}, Checks: []Check{
		fails("fresh", vm.Refuse(vm.CodeStale, "%s", hostile).On(hostile, hostile, hostile).Try(hostile)), fact("boot", hostile, "%s", hostile),
	}}
	var b strings.Builder
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\r\x00\u202e") {
		t.Errorf("control characters reach the terminal: %q", b.String()[:200])
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if strings.HasPrefix(line, "VERIFIED") || len([]rune(line)) > 3*maxShown {
			t.Errorf("a hostile line: %.100q…", line)
		}
	}
}

func TestColours(t *testing.T) {
	r := Report{Verdict: Verified, Summary: "x", Checks: []Check{holds("quote", "x", "")}}
	for _, colour := range []bool{true, false} {
		var b strings.Builder
		if err := r.WriteText(&b, colour); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "\x1b["); got != colour {
			t.Errorf("colour %v: %q", colour, b.String())
		}
	}
}

// FuzzDecodeAttestation: whatever a machine answers, decoding is bounded and
// what it accepts can be encoded again.
func FuzzDecodeAttestation(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]", `{"nonce":"00","tls_key":"` + strings.Repeat("0", 64) + `","evidence":{"tee":"soft","quote":"AAAA"}}`,
		`{"evidence":{"events":[{"register":3,"name":"x","digest":"` + strings.Repeat("0", 96) + `"}]}}`, `{"tls_key":"00"}`, `{}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at, err := ParseAttestation(b)
		if err != nil {
			if vm.CodeOf(err) != vm.CodeMalformed {
				t.Errorf("code of %v", err)
			}
			return
		}
		if len(at.Evidence.Events) > vm.MaxEvents || len(at.Nonce) > 2*vm.MaxNonceSize {
			t.Error("over the bounds")
		}
		if _, err := json.Marshal(at); err != nil {
			t.Error(err)
		}
	})
}

// FuzzParseAddress: an address that is accepted names one https service, and
// reads as itself.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"vm.example", "https://[::1]:1/x", "::1", "http://x", "https://u@h", "a:b", "%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q reads as %+v, its text %q as %+v, %v", s, a, a.String(), again, err)
		}
	})
}

func TestParseRoots(t *testing.T) {
	for _, c := range []struct{ name, in, wantErr string }{
		{"empty", "", "no PEM certificate"},
		{"not PEM", "hello", "no PEM certificate"},
		{"a key", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "want CERTIFICATE"},
		{"not DER", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "read root certificate"},
	} {
		if _, err := ParseRoots([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wantErr)
		}
	}
}
