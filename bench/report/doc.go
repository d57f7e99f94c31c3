// Package report writes a capacity.Plan as one HTML page that needs nothing else: no network, no script. It reads at a
// glance (what the ensemble carries, what limits it, what a need takes), and behind every plot stands the table of its figures.
// The page follows the reader's choice of light or dark, and the width of the window.
//
// Output depends on the plans alone, which testdata/report.html pins down.
package report
