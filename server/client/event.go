package client

import (
	"fmt"
	"sync"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// Event types that a client makes itself (client protocol, section 7.3).
const (
	EventNone                   proto.EventType = -1
	EventDataWatchRemoved       proto.EventType = 5
	EventChildWatchRemoved      proto.EventType = 6
	EventPersistentWatchRemoved proto.EventType = 7
)

// A State is the state of a session as events carry it (client protocol, section 7.3).
type State int32

// Session states. Connecting is a Client's state before its first connection and never
// travels in an event; Disconnected is what an event says when the connection is lost.
const (
	StateConnecting        State = -1
	StateDisconnected      State = 0
	StateConnected         State = 3
	StateAuthFailed        State = 4
	StateConnectedReadOnly State = 5
	StateClosed            State = 7
	StateExpired           State = -112
)

// String returns Java's name (Watcher.Event.KeeperState).
func (s State) String() string {
	switch s {
	case StateConnecting:
		return "Connecting"
	case StateDisconnected:
		return "Disconnected"
	case StateConnected:
		return "SyncConnected"
	case StateAuthFailed:
		return "AuthFailed"
	case StateConnectedReadOnly:
		return "ConnectedReadOnly"
	case StateClosed:
		return "Closed"
	case StateExpired:
		return "Expired"
	}
	return fmt.Sprintf("state %d", int32(s))
}

// Connected tells whether requests can be sent.
func (s State) Connected() bool { return s == StateConnected || s == StateConnectedReadOnly }

// terminal tells whether no state can follow.
func (s State) terminal() bool {
	return s == StateClosed || s == StateExpired || s == StateAuthFailed
}

// An Event is a notification: of a watched path, or with Type EventNone of a change of State.
type Event struct {
	Type  proto.EventType
	State State
	Path  string     // without the chroot; empty with EventNone
	Zxid  proto.Zxid // of the transaction, -1 if the server did not say (before 3.9) or the client made the event
}

// EventTypeName returns Java's name of an event type (Watcher.Event.EventType).
func EventTypeName(t proto.EventType) string {
	switch t {
	case EventNone:
		return "None"
	case proto.EventCreated:
		return "NodeCreated"
	case proto.EventDeleted:
		return "NodeDeleted"
	case proto.EventDataChanged:
		return "NodeDataChanged"
	case proto.EventChildrenChanged:
		return "NodeChildrenChanged"
	case EventDataWatchRemoved:
		return "DataWatchRemoved"
	case EventChildWatchRemoved:
		return "ChildWatchRemoved"
	case EventPersistentWatchRemoved:
		return "PersistentWatchRemoved"
	}
	return fmt.Sprintf("event %d", int32(t))
}

// String is for logs and test failures.
func (e Event) String() string {
	return fmt.Sprintf("%v %s %q zxid %#x", e.State, EventTypeName(e.Type), e.Path, e.Zxid)
}

// DecodeEvent decodes a notification, a Reply with xid -1. The event is a copy.
func DecodeEvent(r Reply) (Event, error) {
	d := jute.NewDecoder(r.Body, 0)
	e := Event{Type: proto.EventType(d.Int32()), State: State(d.Int32()), Path: string(d.Buffer()), Zxid: r.Zxid}
	if d.Err() != nil {
		return Event{}, fmt.Errorf("%w: notification: %w", ErrProtocol, d.Err())
	}
	return e, nil
}

// A Watcher receives the events of the watches that it was given to. One Watcher may serve
// any number of watches; it gets an event once however many of them it touches.
type Watcher struct {
	handler func(Event)
	channel chan<- Event
}

// WatchFunc returns a Watcher that calls f, on the client's delivery goroutine: while f runs
// no other event of the client is delivered. f may make calls, but not Close or Abandon.
func WatchFunc(f func(Event)) *Watcher { return &Watcher{handler: f} }

// WatchChan returns a Watcher that sends to ch, which it never closes. While ch is full no
// other event of the client is delivered; when the client is closed, what does not fit is dropped.
func WatchChan(ch chan<- Event) *Watcher { return &Watcher{channel: ch} }

func (w *Watcher) deliver(e Event, closed <-chan struct{}) {
	if w.handler != nil {
		w.handler(e)
		return
	}
	select {
	case w.channel <- e:
	default:
		select {
		case w.channel <- e:
		case <-closed:
		}
	}
}

// An eventQueue holds events in front of the delivery goroutine.
type eventQueue struct {
	wake chan struct{} // holds a token when items or closed changed

	mu     sync.Mutex // guards the fields below; a leaf
	items  []delivery
	closed bool
}

type delivery struct {
	event Event
	to    []*Watcher
}

func (q *eventQueue) push(e Event, to []*Watcher) {
	if len(to) == 0 {
		return
	}
	q.mu.Lock()
	q.items = append(q.items, delivery{e, to})
	q.mu.Unlock()
	notify(q.wake)
}

func (q *eventQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	notify(q.wake)
}

// run delivers until the queue is closed and empty. closed releases full channels.
func (q *eventQueue) run(closed <-chan struct{}) {
	for {
		q.mu.Lock()
		items, end := q.items, q.closed
		q.items = nil
		q.mu.Unlock()
		for _, it := range items {
			for _, w := range it.to {
				w.deliver(it.event, closed)
			}
		}
		if len(items) > 0 {
			continue
		}
		if end {
			return
		}
		<-q.wake
	}
}

// notify leaves a token in a channel of capacity one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
