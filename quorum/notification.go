package quorum

import (
	"errors"
	"fmt"

	"zabra.dev/zabra/engine/jute"
)

// Vote is what a server thinks of the leadership (quorum protocol, sections 3.1 and 3.2).
type Vote struct {
	Leader        ServerID
	Zxid          Zxid  // last zxid of Leader, as known when it was proposed
	ElectionEpoch int64 // round ("logical clock") in which it was proposed
	PeerEpoch     Epoch // current epoch of Leader
	State         State // of the voter
	Version       int32 // of the voter's notification format; 0 before 3.5
}

// NotificationVersion is the version of the format sent: with a config.
const NotificationVersion int32 = 2

// NotificationMaxBytes is the largest message of the election port; a longer one ends the
// connection (section 2.3).
const NotificationMaxBytes = 512 << 10

// Notification is a vote as it travels, with the sender's committed config.
type Notification struct {
	Vote
	Config *Config // nil: an old sender's, or one that could not be read
}

// notificationHeadBytes is the size of a notification up to its version.
const notificationHeadBytes = 4 + 8 + 8 + 8 + 8

// Append encodes the notification, without the length in front, in version 2 whatever
// n.Version says. A nil Config becomes an empty text, which receivers cannot read; senders
// always have one.
func (n *Notification) Append(dst []byte) []byte {
	dst = jute.AppendInt32(dst, int32(n.State))
	dst = jute.AppendInt64(dst, n.Leader)
	dst = jute.AppendInt64(dst, n.Zxid)
	dst = jute.AppendInt64(dst, n.ElectionEpoch)
	dst = jute.AppendInt64(dst, n.PeerEpoch)
	dst = jute.AppendInt32(dst, NotificationVersion)
	start := len(dst)
	dst = jute.AppendInt32(dst, 0)
	if n.Config != nil {
		dst = n.Config.AppendText(dst)
	}
	jute.PutInt32(dst[start:], int32(len(dst)-start-4))
	return dst
}

// ErrNotification reports a message of the election port that must be skipped.
var ErrNotification = errors.New("quorum: malformed notification")

// DecodeNotification reads a notification of any release, by its length (section 3.1):
//
//	28        before 3.4: PeerEpoch is the epoch of Zxid, Version 0
//	40        3.4.6 and later: Version 0, whatever is in the field
//	>= 44     3.5 and later; a config follows if the version is above 1
//	others    ErrNotification
//
// It borrows msg and lends configText, nil when there is none. Config stays nil: the caller
// parses the text, and on failure uses the notification without it.
func DecodeNotification(msg []byte) (n Notification, configText []byte, err error) {
	d := jute.NewDecoder(msg, 0)
	n.State, n.Leader, n.Zxid, n.ElectionEpoch = State(d.Int32()), d.Int64(), d.Int64(), d.Int64()
	if len(msg) == notificationHeadBytes-8 {
		n.PeerEpoch = EpochOf(n.Zxid)
	} else {
		n.PeerEpoch = d.Int64()
		n.Version = d.Int32()
	}
	if len(msg) == notificationHeadBytes+4 {
		n.Version = 0
	}
	if n.Version > 1 {
		length := int(d.Int32())
		if d.Err() == nil && (length < 0 || length > len(msg)) {
			return Notification{}, nil, fmt.Errorf("%w: config of %d bytes in a message of %d", ErrNotification, length, len(msg))
		}
		configText = d.Bytes(length)
	}
	if err := d.Err(); err != nil {
		return Notification{}, nil, fmt.Errorf("%w: %d bytes: %v", ErrNotification, len(msg), err)
	}
	if !n.State.Known() {
		return Notification{}, nil, fmt.Errorf("%w: %s", ErrNotification, n.State)
	}
	return n, configText, nil
}
