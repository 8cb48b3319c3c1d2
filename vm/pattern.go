package vm

import (
	"regexp"
	"sync"
)

// Pattern returns what reports whether a text matches a regular expression. It is
// compiled when somebody asks first: every process of a machine has all of them,
// and most ask few.
func Pattern(expr string) func(text string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
	return func(text string) bool { return compiled().MatchString(text) }
}
