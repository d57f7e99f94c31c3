//go:build race

package engine

// programSeeds is small because the race detector slows the model's maps down.
const programSeeds = 200
