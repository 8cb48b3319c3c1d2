package step

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

type record struct{ lines []string }

func (r *record) Started(name string) { r.lines = append(r.lines, "start "+name) }
func (r *record) Finished(f Result) {
	r.lines = append(r.lines, strings.TrimSpace("end "+f.Name+" "+f.Remark+f.Error))
}

func TestRunStopsAtTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	ok := func(context.Context) (string, error) { return "fine", nil }
	var got record
	err := Run(t.Context(), &got, Step{"a", ok}, Step{"b", func(context.Context) (string, error) { return "", boom }}, Step{"c", ok})
	if !errors.Is(err, boom) || err.Error() != "b: boom" {
		t.Errorf("Run = %v, want b: boom", err)
	}
	if want := []string{"start a", "end a fine", "start b", "end b boom"}; !slices.Equal(got.lines, want) {
		t.Errorf("reported %q, want %q", got.lines, want)
	}
}

func TestRunEndsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var got record
	err := Run(ctx, &got, Step{"a", func(context.Context) (string, error) { cancel(); return "", nil }}, Step{"b", nil})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want it cancelled before b", err)
	}
}
