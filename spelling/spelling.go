// Package spelling finds the word that somebody meant, for the hints of errors
// about unknown fields.
package spelling

import "strings"

// Nearest returns the known word nearest to a mistaken one, whatever its case,
// or nothing if none is near.
func Nearest(word string, known []string) string {
	best, nearest := max(1, min(3, len(word)/2))+1, ""
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < best {
			best, nearest = d, k
		}
	}
	return nearest
}

// maxWord bounds the work for one word, in bytes; longer ones are far from
// everything.
const maxWord = 64

// distance is the Levenshtein distance.
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return maxWord
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
