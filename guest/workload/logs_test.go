package workload

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func frame(stream byte, text string) string {
	head := []byte{stream, 0, 0, 0}
	return string(binary.BigEndian.AppendUint32(head, uint32(len(text)))) + text
}

const stamp = "2026-11-23T09:20:47.123456789Z "

// TestLogs reads logs as dockerd sends them: in frames, of a terminal without,
// lines across frames, lines that are too long.
func TestLogs(t *testing.T) {
	long := strings.Repeat("x", 2*maxLine)
	for _, c := range []struct{ name, body, want, wantErr string }{
		{"frames", frame(1, stamp+"one\n") + frame(2, stamp+"two\r\n"), "one|two", ""},
		{"terminal", stamp + "one\n" + stamp + "two\r\n", "one|two", ""},
		{"across frames", frame(1, stamp+"o") + frame(1, "ne\n"+stamp) + frame(1, "two\n"), "one|two", ""},
		{"nothing", "", "", ""},
		{"no line end", frame(1, stamp+"one"), "one", ""},
		{"too long", frame(1, stamp+long+"\n"), long, ""},
		{"not in frames", frame(1, stamp+"one\n") + "garbage!", "", "not in frames"},
		{"cut off", frame(1, stamp+"one\n") + "\x01\x00", "", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serveDocker(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/json") {
					fmt.Fprint(w, `[{"Names":["/p-web-1"]},{"Names":["/p-db-1"]}]`)
					return
				}
				if q := r.URL.Query(); r.URL.Path != apiVersion+"/containers/p-web-1/logs" || q.Get("tail") != "7" || q.Get("timestamps") != "1" || q.Get("since") != "1700000000.000000006" {
					t.Errorf("asked %s", r.URL)
				}
				io.WriteString(w, c.body)
			})
			p := &Project{Name: "p", engine: NewEngine(f, nil, nil)}
			lines, err := p.Logs(t.Context(), "p-web-1", 7, time.Unix(1700000000, 5))
			if c.wantErr == "" && err != nil || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Fatalf("error %v, want %q", err, c.wantErr)
			}
			var texts []string
			for i, l := range lines {
				texts = append(texts, string(l.Text))
				if l.Source != "p-web-1" || i == 0 && l.Time.Nanosecond() != 123456789 || len(l.Text) > maxLine {
					t.Errorf("line %+v", l)
				}
			}
			separator := "|"
			if c.name == "too long" {
				separator = ""
			}
			if got := strings.Join(texts, separator); got != c.want {
				t.Errorf("%d lines, %.80q", len(texts), got)
			}
			if names, err := p.Services(t.Context()); err != nil || strings.Join(names, " ") != "p-db-1 p-web-1" {
				t.Errorf("services %q, %v", names, err)
			}
		})
	}
}

// TestA6_LogsAreBounded: a container that writes without end costs the reader a
// bounded piece of memory, and the last lines are what stays.
func TestA6_LogsAreBounded(t *testing.T) {
	f := serveDocker(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 5000 {
			io.WriteString(w, frame(1, fmt.Sprintf("%s%04d %s\n", stamp, i, strings.Repeat("y", 200))))
		}
	})
	lines, err := newDocker(f.Socket()).logs(t.Context(), "c", 10000, time.Time{}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, l := range lines {
		size += len(l.Text)
	}
	if size > 64<<10 || size < 32<<10 || !strings.HasPrefix(string(lines[len(lines)-1].Text), "4999 ") {
		t.Errorf("%d lines of %d bytes, the last %.20q", len(lines), size, lines[len(lines)-1].Text)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frame(1, stamp+"one\n") + frame(2, "two"))
	f.Add("\x01\x00\x00\x00\xff\xff\xff\xffx")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := io.ReadAll(&frames{from: strings.NewReader(text)})
		if len(b) > len(text) || err == nil && strings.Trim(text, "\x00") != "" && len(text) < frameHead {
			t.Errorf("%q gives %q, %v", text, b, err)
		}
		parseLine("c", text)
	})
}
