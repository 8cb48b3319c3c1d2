package structure

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	testFunc   = regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9_]*)\(`)
	threatTest = regexp.MustCompile(`^Test[A-Z][0-9]+_`)
)

// A threat model that names tests which do not exist protects nobody; an
// attack test that it does not name is not found by who looks for it.
func TestThreatModelNamesRealTests(t *testing.T) {
	exists := map[string]bool{}
	for _, file := range goFiles(t, ".") {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			exists[m[1]] = true
		}
	}
	doc := read(t, filepath.Join(root(t), "docs", "threat-model.md"))
	named := map[string]bool{}
	for _, m := range testName.FindAllStringSubmatch(doc, -1) {
		named[m[1]] = true
		if !exists[m[1]] {
			t.Errorf("docs/threat-model.md names %s, which does not exist", m[1])
		}
	}
	for name := range exists {
		if threatTest.MatchString(name) && !named[name] {
			t.Errorf("docs/threat-model.md does not name %s", name)
		}
	}
}
