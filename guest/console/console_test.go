package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/step"
)

func TestLines(t *testing.T) {
	var out bytes.Buffer
	c := New(&out)
	c.Started("disk")
	c.Waiting("keys", "2 of 4 nodes answer")
	c.Finished(step.Result{Name: "disk", Took: 512 * time.Millisecond, Remark: "opened, generation 3"})
	c.Finished(step.Result{Name: "keys", Took: time.Microsecond, Error: "refused:\nno"})
	c.Halt("keys", errors.New("refused:\n\tno \x1b[31mred\x1b[0m \xff \u009b"))
	want := `secretvm: {"step":"disk","state":"start"}
secretvm: {"step":"keys","state":"waiting","remark":"2 of 4 nodes answer"}
secretvm: {"step":"disk","state":"ok","ms":512,"remark":"opened, generation 3"}
secretvm: {"step":"keys","state":"failed","error":"refused: no"}
secretvm: HALT keys: refused:  no ?[31mred?[0m ? ?
`
	if out.String() != want {
		t.Errorf("console shows\n%swant\n%s", out.String(), want)
	}
}

func TestHaltBoundsReason(t *testing.T) {
	var out bytes.Buffer
	New(&out).Halt("measure", errors.New(strings.Repeat("é", 4000)))
	if got := out.String(); len(got) > 600 || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "é…\n") {
		t.Errorf("line of %d bytes ends in %q", len(got), got[len(got)-8:])
	}
}

func TestHaltOnFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	New(f).Halt("measure", errors.New("no TEE"))
	if got, _ := os.ReadFile(f.Name()); string(got) != "secretvm: HALT measure: no TEE\n" {
		t.Errorf("file holds %q", got)
	}
}

// FuzzOneLine: whatever a reason holds, the line is one printable line that
// parses as JSON.
func FuzzOneLine(f *testing.F) {
	f.Add("plain")
	f.Add("a\r\nsecretvm: HALT \x1b]0;x\x07 \u2028")
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		New(&out).Finished(step.Result{Name: "x", Error: text + "!"})
		line, ok := strings.CutPrefix(out.String(), Prefix)
		if !ok || strings.Count(line, "\n") != 1 || strings.ContainsAny(line[:len(line)-1], "\r\x1b\x07\u2028") {
			t.Errorf("line is %q", out.String())
		}
		var parsed Line
		if err := json.Unmarshal([]byte(line), &parsed); err != nil || parsed.Error != oneLine(text+"!") {
			t.Errorf("%q does not parse: %v", line, err)
		}
	})
}

func TestKept(t *testing.T) {
	c := New(io.Discard)
	before := time.Now()
	for i := range maxKept + 5 {
		c.Note(fmt.Sprint(i))
	}
	all := c.Since(before)
	if len(all) != maxKept || all[0].Text != "note: 5" {
		t.Fatalf("%d lines are kept, the first is %+v", len(all), all[:1])
	}
	if later := c.Since(all[maxKept-1].Time); len(later) != 0 {
		t.Errorf("after the last: %d lines", len(later))
	}
	c.Note("later")
	if later := c.Since(all[maxKept-1].Time); len(later) != 1 || later[0].Text != "note: later" {
		t.Errorf("after the last: %+v", later)
	}
}
