package load

import (
	"fmt"
	"strings"
)

// A Kind is what one request, or one figure of a result, is about.
type Kind uint8

// Kinds. The first group can be asked for in a Mix; the second follows from the first.
const (
	Get          Kind = iota // getData of a key
	Exists                   // exists of a key
	Children                 // getChildren2 of a directory of keys
	Set                      // setData of a key
	Create                   // create of a new znode below the session's own
	CreateDelete             // create, and as the session's next request delete of the same znode
	Ephemeral                // likewise with an ephemeral
	Multi                    // multi of Config.MultiOps setData
	Sync                     // sync of the root of the keys
	Watch                    // getData of a key that leaves a watch; the event is a Notification
	Session                  // connect, create a session, close it, on a connection of its own

	Delete       // the second half of CreateDelete
	DeleteEphem  // the second half of Ephemeral
	Rewatch      // the getData with which a session answers a notification (Config.WatchesPerSession)
	Notification // from the sending of the latest set of a key to the arrival of an event of it
	numKinds

	numMixKinds = Session + 1
)

var kindNames = [numKinds]string{
	"get", "exists", "children", "set", "create", "createdelete", "ephemeral", "multi", "sync", "watch", "session",
	"delete", "ephemeraldelete", "rewatch", "notification",
}

// String returns the name that mixes and results use.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// KindOf returns the kind with the name, false when there is none.
func KindOf(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), true
		}
	}
	return 0, false
}

// IsWrite tells whether a request of the kind changes the state that is replicated.
func (k Kind) IsWrite() bool {
	switch k {
	case Set, Create, CreateDelete, Ephemeral, Multi, Session, Delete, DeleteEphem:
		return true
	}
	return false
}

// MixKindNames lists the names that a mix may use, for messages.
func MixKindNames() string { return strings.Join(kindNames[:numMixKinds], ", ") }

// forks lists the kinds that requests of k lead to, k included.
func (k Kind) forks() []Kind {
	switch k {
	case CreateDelete:
		return []Kind{k, Delete}
	case Ephemeral:
		return []Kind{k, DeleteEphem}
	case Watch:
		return []Kind{k, Notification}
	}
	return []Kind{k}
}
