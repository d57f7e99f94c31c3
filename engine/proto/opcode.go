// Package proto is ZooKeeper's vocabulary: operation and error codes, event types, the
// records of requests and replies, and the transactions that a log and a quorum carry.
//
// Records decode from a jute.Decoder without copying: their byte fields alias the frame.
// They encode by appending to a caller's slice. The package holds no state and may be used
// from any goroutine; everything above it speaks in its types.
//
// Sources: client protocol, sections 1.4, 3, 4, 5 and 7; quorum protocol, sections 4.1 and 6.
package proto

import "strconv"

// Zxid is a transaction id: the epoch in the high 32 bits, a counter in the low 32.
// Zxids are compared as signed numbers, as Java does.
type Zxid = int64

// SessionID identifies a session; it may be negative (server ids of 128 and more).
type SessionID = int64

// An OpCode is the type of a request or of a transaction.
type OpCode int32

// Operation codes (client protocol, section 3.2).
const (
	OpNotification      OpCode = 0
	OpCreate            OpCode = 1
	OpDelete            OpCode = 2
	OpExists            OpCode = 3
	OpGetData           OpCode = 4
	OpSetData           OpCode = 5
	OpGetACL            OpCode = 6
	OpSetACL            OpCode = 7
	OpGetChildren       OpCode = 8
	OpSync              OpCode = 9
	OpPing              OpCode = 11
	OpGetChildren2      OpCode = 12
	OpCheck             OpCode = 13
	OpMulti             OpCode = 14
	OpCreate2           OpCode = 15
	OpReconfig          OpCode = 16
	OpCheckWatches      OpCode = 17
	OpRemoveWatches     OpCode = 18
	OpCreateContainer   OpCode = 19
	OpDeleteContainer   OpCode = 20
	OpCreateTTL         OpCode = 21
	OpMultiRead         OpCode = 22
	OpAuth              OpCode = 100
	OpSetWatches        OpCode = 101
	OpSasl              OpCode = 102
	OpGetEphemerals     OpCode = 103
	OpGetAllChildrenNum OpCode = 104
	OpSetWatches2       OpCode = 105
	OpAddWatch          OpCode = 106
	OpWhoAmI            OpCode = 107
	OpCreateSession     OpCode = -10
	OpCloseSession      OpCode = -11
	OpError             OpCode = -1
)

// opNames are Java's names (ZooDefs and Request.op2String), used in logs and audit lines.
var opNames = map[OpCode]string{
	OpNotification: "notification", OpCreate: "create", OpDelete: "delete", OpExists: "exists",
	OpGetData: "getData", OpSetData: "setData", OpGetACL: "getACL", OpSetACL: "setACL",
	OpGetChildren: "getChildren", OpSync: "sync", OpPing: "ping", OpGetChildren2: "getChildren2",
	OpCheck: "check", OpMulti: "multi", OpCreate2: "create2", OpReconfig: "reconfig",
	OpCheckWatches: "checkWatches", OpRemoveWatches: "removeWatches",
	OpCreateContainer: "createContainer", OpDeleteContainer: "deleteContainer",
	OpCreateTTL: "createTtl", OpMultiRead: "multiRead", OpAuth: "auth",
	OpSetWatches: "setWatches", OpSasl: "sasl", OpGetEphemerals: "getEphemerals",
	OpGetAllChildrenNum: "getAllChildrenNumber", OpSetWatches2: "setWatches2",
	OpAddWatch: "addWatch", OpWhoAmI: "whoAmI", OpCreateSession: "createSession",
	OpCloseSession: "closeSession", OpError: "error",
}

// String returns Java's name of the operation, "unknown N" for others.
func (op OpCode) String() string {
	if s, ok := opNames[op]; ok {
		return s
	}
	return "unknown " + strconv.Itoa(int(op))
}

// Xids with a meaning of their own (client protocol, section 3.1).
const (
	XidNotification int32 = -1
	XidPing         int32 = -2
	XidAuth         int32 = -4
	XidSetWatches   int32 = -8
)

// Permission bits (client protocol, section 8.1).
const (
	PermRead   int32 = 1
	PermWrite  int32 = 2
	PermCreate int32 = 4
	PermDelete int32 = 8
	PermAdmin  int32 = 16
	PermAll    int32 = 31
)

// An EventType tells what happened to a watched path (client protocol, section 7.3).
type EventType int32

// Event types that a server sends.
const (
	EventCreated         EventType = 1
	EventDeleted         EventType = 2
	EventDataChanged     EventType = 3
	EventChildrenChanged EventType = 4
)

// StateSyncConnected is the state in every notification that a server sends.
const StateSyncConnected int32 = 3

// Create flags (client protocol, section 5.2).
const (
	FlagPersistent              int32 = 0
	FlagEphemeral               int32 = 1
	FlagSequential              int32 = 2
	FlagEphemeralSequential     int32 = 3
	FlagContainer               int32 = 4
	FlagTTL                     int32 = 5
	FlagPersistentSequentialTTL int32 = 6
)

// Modes of addWatch (client protocol, section 7.2).
const (
	WatchModePersistent          int32 = 0
	WatchModePersistentRecursive int32 = 1
)

// Watcher types of checkWatches and removeWatches (client protocol, section 7.9).
const (
	WatcherChildren            int32 = 1
	WatcherData                int32 = 2
	WatcherAny                 int32 = 3
	WatcherPersistent          int32 = 4
	WatcherPersistentRecursive int32 = 5
)
