package policy

import (
	"fmt"
	"strings"
)

// suggest returns `: did you mean "x"?` for the known word nearest to a
// mistaken one, or nothing if none is near.
func suggest(word string, known []string) string {
	best, nearest := max(1, min(3, len(word)/2))+1, ""
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < best {
			best, nearest = d, k
		}
	}
	if nearest == "" {
		return ", want one of " + strings.Join(known, ", ")
	}
	return fmt.Sprintf(": did you mean %q?", nearest)
}

// distance is the Levenshtein distance; long words are far from everything.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
