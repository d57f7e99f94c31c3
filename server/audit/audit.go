// Package audit writes the lines of ZooKeeper's audit log: who changed what, and with what result.
//
//	session=0x1000029836a0006	user=127.0.0.1	ip=127.0.0.1	operation=create	znode=/eph	znode_type=ephemeral	result=success
//
// Fields stand in this order, with TABs between; one that has no value is left out. A failure is logged at
// ERROR, all else at INFO, under the name of Java's audit logger, so that the lines can be told from others.
// Control characters in paths and names are escaped by the log handler: nobody can forge a line.
//
// The package formats what it is given; any goroutine may use a Log. Source: operations, section 6.9.
package audit

import (
	"context"
	"log/slog"
	"os/user"
	"strings"
	"time"

	"zabra.dev/zabra/server/logging"
)

// Operations.
const (
	ServerStart        = "serverStart"
	ServerStop         = "serverStop"
	Create             = "create"
	Delete             = "delete"
	SetData            = "setData"
	SetACL             = "setAcl"
	Multi              = "multiOperation"
	Reconfig           = "reconfig"
	EphemeralsOfClosed = "ephemeralZNodeDeletionOnSessionCloseOrExpire"
)

// Results.
const (
	Success = "success"
	Failure = "failure"
	Invoked = "invoked"
)

// An Event is one line. Empty fields are left out, except for Result.
type Event struct {
	Session   string // 0xHEX
	User      string // names joined by commas
	IP        string
	Operation string
	Znode     string
	ZnodeType string
	ACL       string
	Result    string
}

// String gives the text of the line.
func (e *Event) String() string {
	var b strings.Builder
	for _, f := range [...]struct{ key, value string }{
		{"session", e.Session}, {"user", e.User}, {"ip", e.IP}, {"operation", e.Operation},
		{"znode", e.Znode}, {"znode_type", e.ZnodeType}, {"acl", e.ACL}, {"result", e.Result},
	} {
		if f.value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(f.key)
		b.WriteByte('=')
		// A TAB in a value would look like the next field.
		b.WriteString(strings.ReplaceAll(f.value, "\t", `\t`))
	}
	return b.String()
}

// A Log takes events.
type Log struct {
	log   *slog.Logger
	owner string
}

// New returns a Log that writes to log, whose thread the lines name.
func New(log *slog.Logger) *Log {
	l := &Log{log: logging.Component(log, "Slf4jAuditLogger")}
	if u, err := user.Current(); err == nil {
		l.owner = u.Username
	}
	return l
}

// Owner is the user that the process runs as, for what the server does by itself.
func (l *Log) Owner() string { return l.owner }

// Write logs e.
func (l *Log) Write(e *Event) {
	level := slog.LevelInfo
	if e.Result == Failure {
		level = slog.LevelError
	}
	ctx := context.Background()
	if !l.log.Enabled(ctx, level) {
		return
	}
	// No place in the source stands for a line.
	// The handler has nowhere to report a failed write to.
	_ = l.log.Handler().Handle(ctx, slog.NewRecord(time.Now(), level, e.String(), 0))
}

// Server logs a start or stop of the server itself.
func (l *Log) Server(operation, result string) {
	l.Write(&Event{User: l.owner, Operation: operation, Result: result})
}
