package progress

import (
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/step"
)

func TestPlainOutputHasOneLineAStep(t *testing.T) {
	var out strings.Builder
	p := New(&out)
	p.Started("image")
	p.Note("unpacking %d packages", 12)
	p.Finished(step.Result{Name: "image", Remark: "v0.1.0 (cached)", Took: 1234 * time.Millisecond})
	p.Started("kms")
	p.Finished(step.Result{Name: "kms", Error: "no such file", Took: time.Second})
	want := " ✓ image        v0.1.0 (cached)                                     1.2s\n" +
		" ✗ kms          failed                                              1.0s\n"
	if out.String() != want {
		t.Errorf("printed\n%q, want\n%q", out.String(), want)
	}
}
