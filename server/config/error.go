package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Exit codes of the server process. Source: spec/operations.md 1.3.
const (
	ExitNormal            = 0
	ExitUnexpected        = 1
	ExitInvalidInvocation = 2  // bad arguments or configuration
	ExitDataDir           = 3  // data directory not usable
	ExitAdminServer       = 4  // AdminServer could not start (standalone only)
	ExitSnapshot          = 10 // error while taking a snapshot
	ExitCommitMismatch    = 12 // learner got a commit that does not match its next proposal
	ExitQuorumPacket      = 13 // unexpected quorum packet
	ExitQuorumBind        = 14 // election or quorum port cannot be bound
)

// Usage is the usage text of the server's entry points.
const Usage = "Usage: ZooKeeperServerMain configfile | port datadir [ticktime] [maxcnxns]"

// Headline returns the line the Java server prints on standard error before it exits with code, or the
// empty string when it prints none.
func Headline(code int) string {
	switch code {
	case ExitUnexpected:
		return "Unexpected exception, exiting abnormally"
	case ExitInvalidInvocation:
		return "Invalid config, exiting abnormally"
	case ExitDataDir:
		return "Unable to access datadir, exiting abnormally"
	case ExitAdminServer:
		return "Unable to start AdminServer, exiting abnormally"
	}
	return ""
}

// Error is a configuration that is refused. Message is the text of the Java server where it has one.
type Error struct {
	ExitCode int    // what the process exits with
	Message  string // the reason, on one line
	File     string // file at fault; empty when it is none
	Line     int    // line in File, counted from 1; 0 when unknown
	Key      string // key at fault; empty when it is none
	Value    string // the value refused
	Fix      string // what to do instead, imperative
	Err      error  // cause; may be nil
}

// Error returns all of it on one line: message, place, key and value, fix.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("config: ")
	b.WriteString(e.Message)
	if e.Key != "" {
		fmt.Fprintf(&b, " (%s=%s", e.Key, e.Value)
		if e.File != "" {
			b.WriteString(" in " + e.File)
			if e.Line > 0 {
				fmt.Fprintf(&b, " line %d", e.Line)
			}
		}
		b.WriteByte(')')
	} else if e.File != "" && !strings.Contains(e.Message, e.File) {
		b.WriteString(" (" + e.File + ")")
	}
	if e.Fix != "" {
		b.WriteString("; fix: " + e.Fix)
	}
	return lineBreaks.Replace(b.String())
}

// lineBreaks keeps a value with line breaks from breaking the line.
var lineBreaks = strings.NewReplacer("\n", `\n`, "\r", `\r`)

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCodeOf returns the exit code of the *Error in err's chain, ExitUnexpected when there is none, and
// ExitNormal for nil.
func ExitCodeOf(err error) int {
	if err == nil {
		return ExitNormal
	}
	var e *Error
	if errors.As(err, &e) {
		return e.ExitCode
	}
	return ExitUnexpected
}

// Warning is one line for the log about a configuration that is accepted.
type Warning struct {
	Level   slog.Level // Warn, or Error where the Java server logs an ERROR and goes on
	Key     string     // may be empty
	Message string
}

// String returns the message.
func (w Warning) String() string { return w.Message }
