package vm

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCodeIsExplained: the table has the codes of refusal.go, in their
// order, and the documentation has the table.
func TestEveryCodeIsExplained(t *testing.T) {
	source, err := os.ReadFile("refusal.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`Code\w+ +Code = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(declared) != len(Explanations) {
		t.Fatalf("%d codes are declared, %d are explained", len(declared), len(Explanations))
	}
	doc, err := os.ReadFile("../docs/verification.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range declared {
		e := Explanations[i]
		if string(e.Code) != d[1] || e.Means == "" || e.Do == "" {
			t.Errorf("explanation %d is of %q (%q, %q), want %q", i, e.Code, e.Means, e.Do, d[1])
		}
		if row := "| `" + string(e.Code) + "` | " + e.Means + " | " + e.Do + " |\n"; !strings.Contains(string(doc), row) {
			t.Errorf("docs/verification.md lacks the row\n%s", row)
		}
	}
}

func TestExplain(t *testing.T) {
	if e, ok := Explain(CodeTCB); !ok || !strings.Contains(e.Do, "operator") {
		t.Errorf("%+v, %v", e, ok)
	}
	if e, ok := Explain("no-such-code"); ok {
		t.Errorf("%+v", e)
	}
}
