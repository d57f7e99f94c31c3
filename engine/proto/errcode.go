package proto

import "strconv"

// An ErrCode is the err field of a reply and the body of an error transaction.
// It implements error; OK must never be returned as one.
type ErrCode int32

// Error codes that a server sends (client protocol, section 4.1).
const (
	OK                       ErrCode = 0
	ErrSystem                ErrCode = -1
	ErrRuntimeInconsistency  ErrCode = -2
	ErrMarshalling           ErrCode = -5
	ErrUnimplemented         ErrCode = -6
	ErrBadArguments          ErrCode = -8
	ErrNewConfigNoQuorum     ErrCode = -13
	ErrReconfigInProgress    ErrCode = -14
	ErrNoNode                ErrCode = -101
	ErrNoAuth                ErrCode = -102
	ErrBadVersion            ErrCode = -103
	ErrNoChildrenForEphem    ErrCode = -108
	ErrNodeExists            ErrCode = -110
	ErrNotEmpty              ErrCode = -111
	ErrSessionExpired        ErrCode = -112
	ErrInvalidACL            ErrCode = -114
	ErrAuthFailed            ErrCode = -115
	ErrSessionMoved          ErrCode = -118
	ErrNotReadOnly           ErrCode = -119
	ErrEphemeralOnLocal      ErrCode = -120
	ErrNoWatcher             ErrCode = -121
	ErrReconfigDisabled      ErrCode = -123
	ErrSessionClosedRequires ErrCode = -124
	ErrQuotaExceeded         ErrCode = -125
	ErrThrottledOp           ErrCode = -127
)

// errNames are Java's names of the codes (KeeperException.Code), also of those that only
// clients make, so that a client of ours can print any code.
var errNames = map[ErrCode]string{
	OK: "OK", ErrSystem: "SYSTEMERROR", ErrRuntimeInconsistency: "RUNTIMEINCONSISTENCY", -3: "DATAINCONSISTENCY",
	-4: "CONNECTIONLOSS", ErrMarshalling: "MARSHALLINGERROR", ErrUnimplemented: "UNIMPLEMENTED",
	-7: "OPERATIONTIMEOUT", ErrBadArguments: "BADARGUMENTS", -12: "UNKNOWNSESSION",
	ErrNewConfigNoQuorum: "NEWCONFIGNOQUORUM", ErrReconfigInProgress: "RECONFIGINPROGRESS",
	-100: "APIERROR", ErrNoNode: "NONODE", ErrNoAuth: "NOAUTH", ErrBadVersion: "BADVERSION",
	ErrNoChildrenForEphem: "NOCHILDRENFOREPHEMERALS", ErrNodeExists: "NODEEXISTS", ErrNotEmpty: "NOTEMPTY",
	ErrSessionExpired: "SESSIONEXPIRED", -113: "INVALIDCALLBACK", ErrInvalidACL: "INVALIDACL",
	ErrAuthFailed: "AUTHFAILED", ErrSessionMoved: "SESSIONMOVED", ErrNotReadOnly: "NOTREADONLY",
	ErrEphemeralOnLocal: "EPHEMERALONLOCALSESSION", ErrNoWatcher: "NOWATCHER", -122: "REQUESTTIMEOUT",
	ErrReconfigDisabled: "RECONFIGDISABLED", ErrSessionClosedRequires: "SESSIONCLOSEDREQUIRESASLAUTH",
	ErrQuotaExceeded: "QUOTAEXCEEDED", ErrThrottledOp: "THROTTLEDOP",
}

// Name returns Java's name of the code, such as NONODE, or the number for an unknown one.
func (e ErrCode) Name() string {
	if s, ok := errNames[e]; ok {
		return s
	}
	return strconv.Itoa(int(e))
}

// Error makes ErrCode an error.
func (e ErrCode) Error() string { return "zookeeper: " + e.Name() + " (" + strconv.Itoa(int(e)) + ")" }
