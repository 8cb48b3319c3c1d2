package compose

import (
	"fmt"

	"github.com/secretvm/secretvm/spelling"
)

// suggest returns `: did you mean "x"?` for the known word nearest to a
// mistaken one, or nothing if none is near.
func suggest(word string, known []string) string {
	nearest := spelling.Nearest(word, known)
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", nearest)
}
