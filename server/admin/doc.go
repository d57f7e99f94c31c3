// Package admin is the AdminServer: the commands of a ZooKeeper server over HTTP, as JSON.
//
//	GET  /commands                 list of commands (HTML)
//	GET  /commands/NAME?ARG=VALUE  run a command; HEAD works too
//	POST /commands/NAME            run one that takes a body: restore, shed_connections
//
// The bodies have the keys, the order, the types and the layout of a Java server's, to the byte, since
// scripts take them apart with more than JSON parsers (json.go). Errors of commands are told in the
// field error with status 200, as in Java; what fails before a command runs, or in snapshot and restore, has a
// status of its own.
//
// Two defects of Java servers are not imitated: a GET of a POST command and the reverse are answered 405,
// not 500 with a trace, and monitor answers while there is no quorum. One is: the interval between two snapshots is a thousandth
// of what the setting says, because that is what backup jobs live with.
//
// The package knows the server through the interface Server only, and never reaches into it: all it asks
// may be asked from any goroutine. It starts one goroutine per connection (net/http), which
// AdminServer.Stop ends.
//
// Source: operations, chapter 4.
package admin
