//go:build interop

package interop

// knownDifferences is every behaviour in which Zabra knowingly differs from a Java server.
// A bug of Zabra has no place here: it stays a failing test.
var knownDifferences = []known{}
