package console

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain\r":                          "plain",
		"a\tb":                             "a b",
		"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe": "BdsDxe",
		"\x1b[31mred\x1b[0m":               "red",
		"\x1b]0;title\x07x\x1b]0;t\x1b\\y": "xy",
		"\x1bPdata\x1b\\z":                 "z",
		"\x1b(Bcharset":                    "charset",
		"bell\x07 back\x08space \x00\x7f":  "bell backspace ",
		"\x1b":                             "",
		"\x1b[":                            "",
		"\x1b[12\x01x":                     "x",
		"caf\u00e9 \u2713":                 "café ✓",
		"evil\u202etxt\u200b\ufeff":        "eviltxt",
		"bad\xff\xfeutf":                   "badutf",
		"c1 \u009b31m":                     "c1 31m",
		"\x1b\x1b[1mnested":                "nested",
	} {
		if got := Clean([]byte(in)); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseProgress(t *testing.T) {
	for line, want := range map[string]Progress{
		`secretvm: {"step":"disk","state":"ok","ms":512,"remark":"opened, generation 3"}`:           {"disk", OK, 512 * time.Millisecond, "opened, generation 3", ""},
		`secretvm: {"step":"keys","state":"waiting","remark":"2 of 4 nodes answer"}`:                {"keys", Waiting, 0, "2 of 4 nodes answer", ""},
		`secretvm: {"step":"keys","state":"start"}`:                                                 {"keys", Start, 0, "", ""},
		`secretvm: {"step":"workload","state":"failed","ms":1,"error":"image \u001b[2Jnot\nfound"}`: {"workload", Failed, time.Millisecond, "", "image notfound"},
		`secretvm: {"step":"keys","state":"ok","error":"only shown when failed","new":[1]}`:         {"keys", OK, 0, "", ""},
		`secretvm: {"step":"keys","state":"ok","remark":"` + strings.Repeat("x", 300) + `"}`:        {"keys", OK, 0, strings.Repeat("x", 199) + "…", ""},
	} {
		if got, is := ParseProgress(line); !is || got != want {
			t.Errorf("ParseProgress(%s) = %+v, %v, want %+v", line, got, is, want)
		}
	}
	for _, line := range []string{
		"", "secretvm: ", "secretvm: hello", "secretvm: HALT keys: no", `{"step":"disk","state":"ok"}`,
		`secretvm: {"step":"disk","state":"done"}`, `secretvm: {"step":"Disk","state":"ok"}`, `secretvm: {"step":"","state":"ok"}`,
		`secretvm: {"step":"disk","state":"ok","ms":-1}`, `secretvm: {"step":"disk","state":"ok","ms":1e30}`, `secretvm: {"step":"disk"`,
		`secretvm: {"step":"disk","state":"ok"} trailing`, `secretvm: {"step":"a/../b","state":"ok"}`,
		`[    1.2] secretvm: {"step":"disk","state":"ok"}`,
	} {
		if got, is := ParseProgress(line); is {
			t.Errorf("ParseProgress(%s) = %+v, want nothing", line, got)
		}
	}
}

func TestParseHalt(t *testing.T) {
	for line, want := range map[string]Halt{
		"secretvm: HALT keys: image-not-allowed: RTMR3 differs":              {"keys", "image-not-allowed: RTMR3 differs"},
		"secretvm: HALT out of memory":                                       {"boot", "out of memory"},
		"[    4.125] Kernel panic - not syncing: dm-verity device corrupted": {"kernel", "panic: dm-verity device corrupted"},
		"secretvm: HALT ../x: y":                                             {"boot", "../x: y"},
	} {
		if got, is := ParseHalt(line); !is || got != want {
			t.Errorf("ParseHalt(%q) = %+v, %v, want %+v", line, got, is, want)
		}
	}
	if got, is := ParseHalt("someone said secretvm: HALT keys: no"); is {
		t.Errorf("a line that only quotes a halt is read as %+v", got)
	}
}

func FuzzConsoleLine(f *testing.F) {
	for _, s := range []string{
		"\x1b[2Jsecretvm: {\"step\":\"disk\",\"state\":\"ok\",\"ms\":5,\"remark\":\"\\u001b[31m\"}", "secretvm: HALT keys: \x1b]0;x",
		"\x1b[\x1b[\x1b", "secretvm: {\"step\":\"a\",\"state\":\"failed\",\"error\":\"\\u202e\"}", "\x1b]8;;http://x\x07link\x1b]8;;\x07",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		line := Clean(raw)
		shown := []string{line}
		if again := Clean([]byte(line)); again != line {
			t.Errorf("cleaning twice gives %q, then %q", line, again)
		}
		if p, is := ParseProgress(line); is {
			shown = append(shown, p.Step, p.Remark, p.Error)
			if utf8.RuneCountInString(p.Remark) > maxRemark || utf8.RuneCountInString(p.Error) > maxReason || p.Took < 0 {
				t.Errorf("unbounded progress %+v", p)
			}
		}
		if h, is := ParseHalt(line); is {
			shown = append(shown, h.Step, h.Reason)
		}
		for _, s := range shown {
			for _, r := range s {
				if !unicode.IsPrint(r) || r == utf8.RuneError && !strings.Contains(string(raw), "\uFFFD") && !strings.Contains(string(raw), `\u`) && utf8.Valid(raw) {
					t.Errorf("%q would be shown with %q in it", s, r)
				}
			}
		}
	})
}

func TestLogFollow(t *testing.T) {
	var file strings.Builder
	log := NewLog(&file)
	in, out := io.Pipe()
	go func() { _, _ = log.ReadFrom(in) }()
	early := log.Follow()
	fmt.Fprint(out, "one\r\n\r\n\x1b[2Jtw")
	if line, more := early.Next(nil); line != "one" || !more {
		t.Errorf("first line is %q, %v", line, more)
	}
	stop := make(chan struct{})
	close(stop)
	if line, more := early.Next(stop); more {
		t.Errorf("a half line is delivered: %q", line)
	}
	fmt.Fprint(out, "o\nno newline at the end")
	out.Close()
	late := log.Follow()
	for _, r := range []struct {
		*Reader
		want string
	}{{early, "two|no newline at the end"}, {late, "one|two|no newline at the end"}} {
		var got []string
		for line, more := r.Next(nil); more; line, more = r.Next(nil) {
			got = append(got, line)
		}
		if strings.Join(got, "|") != r.want {
			t.Errorf("lines are %q, want %s", got, r.want)
		}
	}
	if !strings.Contains(file.String(), "] two\n") || strings.Contains(file.String(), "\x1b") {
		t.Errorf("log file is %q", file.String())
	}
}

// A guest that prints for ever, or a line without end, must not fill the host.
func TestLogIsBounded(t *testing.T) {
	var file countingWriter
	log := NewLog(&file)
	flood := io.LimitReader(endless("0123456789abcde\n"), 18<<20)
	if _, err := log.ReadFrom(flood); err != nil {
		t.Fatal(err)
	}
	if file.n > maxLog+maxLine || file.n < maxLog/2 {
		t.Errorf("log file has %d bytes, want at most about %d", file.n, maxLog)
	}
	if n := len(log.Tail(1 << 30)); n > 2*keepLines {
		t.Errorf("%d lines are kept in memory", n)
	}
	behind := log.Follow()
	if _, more := behind.Next(nil); !more {
		t.Error("a reader that is far behind gets nothing")
	}
	long := NewLog(io.Discard)
	if _, err := long.ReadFrom(io.LimitReader(endless("x"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	for _, line := range long.Tail(1 << 30) {
		if len(line) > maxLine {
			t.Fatalf("a line has %d bytes", len(line))
		}
	}
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(b []byte) (int, error) {
	w.n += len(b)
	return len(b), nil
}

type endless string

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e[i%len(e)]
	}
	return len(b) / len(e) * len(e), nil
}
