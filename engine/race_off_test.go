//go:build !race

package engine

const programSeeds = 1200
