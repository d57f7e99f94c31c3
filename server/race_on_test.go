//go:build race

package server

// raceDetector tells that pools drop at random what they are given.
const raceDetector = true
