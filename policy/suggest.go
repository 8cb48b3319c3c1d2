package policy

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/spelling"
)

// suggest returns `: did you mean "x"?` for the known word nearest to a
// mistaken one, or all of them if none is near.
func suggest(word string, known []string) string {
	nearest := spelling.Nearest(word, known)
	if nearest == "" {
		return ", want one of " + strings.Join(known, ", ")
	}
	return fmt.Sprintf(": did you mean %q?", nearest)
}
