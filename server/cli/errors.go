package cli

import (
	"errors"
	"fmt"
	"unicode/utf16"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server/client"
)

// A commandError ends a command with a line on standard error and an exit code.
type commandError struct {
	text     string
	exitCode int
	cause    error // what a server or the client said; may be nil
}

func (e *commandError) Error() string { return e.text }
func (e *commandError) Unwrap() error { return e.cause }

// failure makes an error of a command's own.
func failure(format string, args ...any) error {
	return &commandError{text: fmt.Sprintf(format, args...), exitCode: 1}
}

// errEmptyACL stands for an ACL that is refused before it is sent.
var errEmptyACL = &commandError{text: "Acl is not valid : null", exitCode: 1, cause: proto.ErrInvalidACL}

// describe turns an error of the client into the original's line (operations, section 2.4).
func describe(err error) error {
	var done *commandError
	if err == nil || errors.As(err, &done) {
		return err
	}
	path := ""
	var ce *client.Error
	if errors.As(err, &ce) {
		path = ce.Path
	}
	code, ok := client.Code(err)
	if !ok {
		return &commandError{text: err.Error(), exitCode: 1, cause: err}
	}
	return &commandError{text: codeText(code, path), exitCode: 1, cause: err}
}

func codeText(code proto.ErrCode, path string) string {
	switch code {
	case proto.ErrNoNode:
		return "Node does not exist: " + path
	case proto.ErrNoChildrenForEphem:
		return "Ephemerals cannot have children: " + path
	case proto.ErrNodeExists:
		return "Node already exists: " + path
	case proto.ErrNotEmpty:
		return "Node not empty: " + path
	case proto.ErrNotReadOnly:
		return "Not a read-only call: " + path
	case proto.ErrInvalidACL:
		return "Acl is not valid : " + path
	case proto.ErrNoAuth:
		return "Insufficient permission : " + path
	case proto.ErrBadArguments:
		return "Arguments are not valid : " + path
	case proto.ErrBadVersion:
		return "version No is not valid : " + path
	case proto.ErrReconfigInProgress:
		return "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
	case proto.ErrNewConfigNoQuorum:
		return "No quorum of new config is connected and up-to-date with the leader of last committed config" +
			" - try invoking reconfiguration after new servers are connected and synced"
	case proto.ErrQuotaExceeded:
		return "Quota has exceeded : " + path
	}
	return keeperText(code, path)
}

// keeperText is the text of Java's KeeperException.
func keeperText(code proto.ErrCode, path string) string {
	s := "KeeperErrorCode = " + keeperName(code)
	if path != "" {
		s += " for " + path
	}
	return s
}

func keeperName(code proto.ErrCode) string {
	switch code {
	case client.ErrConnectionLoss:
		return "ConnectionLoss"
	case proto.ErrRuntimeInconsistency:
		return "RuntimeInconsistency"
	case proto.ErrMarshalling:
		return "MarshallingError"
	case proto.ErrUnimplemented:
		return "Unimplemented"
	case proto.ErrBadArguments:
		return "BadArguments"
	case proto.ErrNewConfigNoQuorum:
		return "NewConfigNoQuorum"
	case proto.ErrReconfigInProgress:
		return "ReconfigInProgress"
	case proto.ErrNoNode:
		return "NoNode"
	case proto.ErrNoAuth:
		return "NoAuth"
	case proto.ErrBadVersion:
		return "BadVersion"
	case proto.ErrNoChildrenForEphem:
		return "NoChildrenForEphemerals"
	case proto.ErrNodeExists:
		return "NodeExists"
	case proto.ErrNotEmpty:
		return "Directory not empty"
	case proto.ErrSessionExpired:
		return "Session expired"
	case proto.ErrInvalidACL:
		return "InvalidACL"
	case proto.ErrAuthFailed:
		return "AuthFailed"
	case proto.ErrSessionMoved:
		return "Session moved"
	case proto.ErrNotReadOnly:
		return "Not a read-only call"
	case proto.ErrEphemeralOnLocal:
		return "Ephemeral node on local session"
	case proto.ErrNoWatcher:
		return "No such watcher"
	case proto.ErrReconfigDisabled:
		return "Reconfig is disabled"
	case proto.ErrSessionClosedRequires:
		return "Session closed because client failed to authenticate"
	case proto.ErrQuotaExceeded:
		return "Quota has exceeded"
	case proto.ErrThrottledOp:
		return "Op throttled due to high load"
	}
	return "Unknown error " + code.Name()
}

// checkPath refuses what servers would refuse as a path, before anything is sent, in the
// words of the original. Positions count UTF-16 units, as there. A sequential path may end
// with a slash, for the server completes it.
func checkPath(path string, sequential bool) error {
	if sequential {
		path += "1"
	}
	if client.ValidatePath(path) == nil {
		return nil
	}
	switch {
	case path == "":
		return failure("Path length must be > 0")
	case path[0] != '/':
		return failure("Path must start with / character")
	case path[len(path)-1] == '/':
		return failure("Path must not end with / character")
	}
	units := utf16.Encode([]rune(path))
	ends := func(i int) bool { return i == len(units) || units[i] == '/' }
	for i := 1; i < len(units); i++ {
		reason := ""
		switch c := units[i]; {
		case c == 0:
			reason = "null character not allowed"
		case c == '/' && units[i-1] == '/':
			reason = "empty node name specified"
		case c == '.' && units[i-1] == '.' && units[i-2] == '/' && ends(i+1), c == '.' && units[i-1] == '/' && ends(i+1):
			reason = "relative paths not allowed"
		case c <= 0x1f, c >= 0x7f && c <= 0x9f, c >= 0xd800 && c <= 0xf8ff, c >= 0xfff0:
			reason = "invalid character"
		default:
			continue
		}
		return failure("Invalid path string \"%s\" caused by %s @%d", path, reason, i)
	}
	return failure("Invalid path string \"%s\"", path)
}
