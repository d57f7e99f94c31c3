package config

import "strings"

// suggestion names the known key that name was probably meant to be, or says nothing.
func suggestion(name string) string {
	const lengthMax = 64 // of names worth comparing
	if len(name) > lengthMax {
		return ""
	}
	best, bestDistance := "", len(name)/4+1
	for _, k := range table {
		if strings.HasSuffix(k.Name, "*") {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k.Name), bestDistance); d < bestDistance {
			best, bestDistance = k.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance returns the Levenshtein distance of a and b in bytes, or atLeast when it is not below that.
func distance(a, b string, atLeast int) int {
	if len(a)-len(b) >= atLeast || len(b)-len(a) >= atLeast {
		return atLeast
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return min(row[len(b)], atLeast)
}
