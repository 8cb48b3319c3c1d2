package verifier

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/vm"
)

// TestTypesAreThoseOfTheReport holds index.d.ts against the Go types that
// reports are made from: the same fields, optional where they may be absent.
func TestTypesAreThoseOfTheReport(t *testing.T) {
	b, err := os.ReadFile("package/index.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`(?m)^  ([a-z0-9_]+\??):`)
	for name, v := range map[string]any{
		"Report": verification.Report{}, "Check": verification.Check{}, "Refusal": vm.Refusal{}, "Anchor": vm.Anchor{},
		"Machine": vm.Verdict{}, "Measurement": vm.Measurement{}, "MeasuredEvent": vm.Event{}, "BootEvent": vm.BootEvent{},
		"SNPFacts": vm.SNPFacts{}, "SGXFacts": vm.SGXFacts{}, "GPUFacts": vm.GPUFacts{}, "BundleContents": Contents{}, "Exhibit": exhibit.Exhibit{},
	} {
		_, rest, found := strings.Cut(string(b), "export interface "+name+" {\n")
		body, _, closed := strings.Cut(rest, "\n}\n")
		if !found || !closed {
			t.Errorf("index.d.ts has no interface %s", name)
			continue
		}
		var typed []string
		for _, m := range field.FindAllStringSubmatch(body+"\n", -1) {
			typed = append(typed, m[1])
		}
		var want []string
		for f := range fields(reflect.TypeOf(v)) {
			want = append(want, f)
		}
		slices.Sort(typed)
		slices.Sort(want)
		if !slices.Equal(typed, want) {
			t.Errorf("interface %s has fields\n%s\nthe report has\n%s", name, typed, want)
		}
	}
}

// fields yields the names of a struct's fields in JSON, with a question mark
// behind those that may be absent.
func fields(s reflect.Type) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range s.NumField() {
			name, options, _ := strings.Cut(s.Field(i).Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			if strings.Contains(options, "omitempty") {
				name += "?"
			}
			if !yield(name) {
				return
			}
		}
	}
}
