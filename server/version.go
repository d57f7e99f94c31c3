package server

import (
	"runtime/debug"
	"time"
)

// CompatVersion is the release of Apache ZooKeeper whose behaviour this server has; clients and
// monitoring take decisions by it.
const CompatVersion = "3.9.5"

// Commit and BuiltOn (RFC 3339, minutes) are set by the linker. Without it the commit comes from
// the build information that the go command leaves in the binary.
var Commit, BuiltOn = "", ""

// Version is the text behind "Zookeeper version: ": RELEASE-COMMIT, built on DATE. Scripts take what
// stands in front of the comma, clients the digits at the start.
func Version() string {
	commit, built := Commit, BuiltOn
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && commit == "":
				commit = s.Value
			case s.Key == "vcs.time" && built == "":
				built = s.Value
			}
		}
	}
	if commit == "" {
		commit = "unknown"
	}
	date := "1970-01-01 00:00 UTC"
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, built); err == nil {
			date = t.UTC().Format("2006-01-02 15:04 UTC")
		}
	}
	return CompatVersion + "-zabra." + commit + ", built on " + date
}
