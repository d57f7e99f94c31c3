package capacity

// nonNegative solves the least squares of rows times coefficients = values, with no coefficient below 0, by
// coordinate descent on the normal equations. All rows have the same length; a column of zeroes gets 0.
func nonNegative(rows [][]float64, values []float64) []float64 {
	if len(rows) == 0 {
		return nil
	}
	n := len(rows[0])
	gram := make([][]float64, n) // products of columns
	slope := make([]float64, n)  // products of columns and values, less what x explains
	for j := range n {
		gram[j] = make([]float64, n)
		for i, r := range rows {
			slope[j] += r[j] * values[i]
			for k := range n {
				gram[j][k] += r[j] * r[k]
			}
		}
	}
	x := make([]float64, n)
	size := 0.0
	for _, v := range values {
		size += v * v
	}
	const rounds = 20_000 // collinear columns need thousands
	for range rounds {
		moved := 0.0
		for j := range n {
			if gram[j][j] == 0 {
				continue
			}
			next := max(0, x[j]+slope[j]/gram[j][j])
			if d := next - x[j]; d != 0 {
				for k := range n {
					slope[k] -= d * gram[j][k]
				}
				x[j] = next
				moved = max(moved, d*d*gram[j][j])
			}
		}
		if moved <= 1e-16*size {
			break
		}
	}
	return x
}
