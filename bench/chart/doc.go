// Package chart draws plots as SVG for a page that brings its own style: lines and points (Plot), and horizontal bars (Bars).
//
// A plot is a <figure> with a caption, a legend, and an <svg> that scales with its column. Everything
// coloured has a class: c0 to c5 for the series, grid, axis, mark and so on; the page says what they look like, in light and in
// dark. Series differ in the form of their markers and in dashes too, so that colour alone tells nothing. Each point carries its
// figures as data-x and data-y, unrounded, and as a <title>, which browsers show when it is pointed at.
//
// Output depends on the arguments alone. The package is for bench/report.
package chart
