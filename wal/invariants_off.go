//go:build !invariants && !race

package wal

const invariants = false
