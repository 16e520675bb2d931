package block

import (
	"fmt"
	"strings"
)

// Nearest returns a hint that names the known name closest to the written one, or
// lists the known names where none is close.
func Nearest(written string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	if n := nearest(written, known); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "known are " + strings.Join(known, ", ")
}

// longestName is the length in bytes above which a name is compared with none: the
// comparison takes time in proportion to the length.
const longestName = 64

// nearest returns the name closest to the one written, "" where none is close.
func nearest(written string, known []string) string {
	if len(written) > longestName {
		return ""
	}
	best, distance := "", len(written)/3+2
	for _, k := range known {
		if d := editDistance(strings.ToLower(written), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// editDistance is the optimal string alignment distance in bytes (Damerau, "A
// technique for computer detection and correction of spelling errors", CACM 1964).
func editDistance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
