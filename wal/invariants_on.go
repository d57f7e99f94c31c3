//go:build invariants || race

package wal

// invariants turns on checks that cost as much as the work they check.
const invariants = true
