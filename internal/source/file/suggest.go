package file

import (
	"slices"
	"strings"
)

// nearest returns the name that word was probably meant to be, or "".
func nearest(word string, names []string) string {
	best, bestDistance := "", 1+max(1, len(word)/4)
	for _, name := range slices.Sorted(slices.Values(names)) {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best == "" {
		return containing(word, names)
	}
	return best
}

// containing returns the only name that contains word, or "".
func containing(word string, names []string) string {
	found := ""
	for _, name := range names {
		if len(word) > 2 && strings.Contains(strings.ToLower(name), strings.ToLower(word)) {
			if found != "" {
				return ""
			}
			found = name
		}
	}
	return found
}

// distance is the number of bytes to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	const long = 100 // field names are shorter; no use to compare more
	a, b = a[:min(len(a), long)], b[:min(len(b), long)]
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(next[j]+1, row[j+1]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// lastName returns the last field of a path, without index.
func lastName(path string) string {
	parts := splitField(path)
	if len(parts) == 0 {
		return ""
	}
	return parts[len(parts)-1]
}
