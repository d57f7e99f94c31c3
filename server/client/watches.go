package client

import (
	"strings"

	"zabra.dev/zabra/engine/jute"
	"zabra.dev/zabra/engine/proto"
)

// A watchKind names one of the client's five tables.
type watchKind int

const (
	watchData watchKind = iota
	watchExist
	watchChild
	watchPersistent
	watchRecursive
	watchKinds
)

// A watchTable mirrors what the server watches for this client, with the Watchers that are
// to hear of it. Paths are the server's, with the chroot.
type watchTable struct {
	tables [watchKinds]map[string][]*Watcher
}

func newWatchTable() (t watchTable) {
	for k := range t.tables {
		t.tables[k] = map[string][]*Watcher{}
	}
	return t
}

func (t *watchTable) add(kind watchKind, path string, w *Watcher) {
	t.tables[kind][path] = addWatcher(t.tables[kind][path], w)
}

func addWatcher(ws []*Watcher, w *Watcher) []*Watcher {
	for _, have := range ws {
		if have == w {
			return ws
		}
	}
	return append(ws, w)
}

// fire returns the watchers of a notification, each once, and forgets the one-shot watches
// that it consumed (client protocol, section 7.4).
func (t *watchTable) fire(e Event) (to []*Watcher) {
	take := func(kinds ...watchKind) {
		for _, k := range kinds {
			for _, w := range t.tables[k][e.Path] {
				to = addWatcher(to, w)
			}
			if k < watchPersistent {
				delete(t.tables[k], e.Path)
			}
		}
	}
	switch e.Type {
	case proto.EventCreated, proto.EventDataChanged:
		take(watchData, watchExist, watchPersistent)
	case proto.EventDeleted:
		take(watchData, watchExist, watchChild, watchPersistent)
	case proto.EventChildrenChanged:
		take(watchChild, watchPersistent)
		return to // recursive watches do not see changes of children as such
	}
	if len(t.tables[watchRecursive]) == 0 {
		return to
	}
	for p := e.Path; p != ""; p = parentPath(p) {
		for _, w := range t.tables[watchRecursive][p] {
			to = addWatcher(to, w)
		}
	}
	return to
}

// parentPath returns "/" for a child of the root and "" for the root.
func parentPath(p string) string {
	i := strings.LastIndexByte(p, '/')
	if i < 0 || p == "/" {
		return ""
	}
	return p[:max(i, 1)]
}

// drain empties the table and adds its watchers to to, each once.
func (t *watchTable) drain(to []*Watcher) []*Watcher {
	seen := map[*Watcher]bool{}
	for _, w := range to {
		seen[w] = true
	}
	for k := range t.tables {
		for _, ws := range t.tables[k] {
			for _, w := range ws {
				if !seen[w] {
					seen[w] = true
					to = append(to, w)
				}
			}
		}
		clear(t.tables[k])
	}
	return to
}

// kindsOf returns the tables that a watcher type of checkWatches and removeWatches speaks of.
func kindsOf(watcherType int32) []watchKind {
	switch watcherType {
	case proto.WatcherChildren:
		return []watchKind{watchChild}
	case proto.WatcherData:
		return []watchKind{watchData, watchExist}
	case proto.WatcherPersistent:
		return []watchKind{watchPersistent}
	case proto.WatcherPersistentRecursive:
		return []watchKind{watchRecursive}
	case proto.WatcherAny:
		return []watchKind{watchChild, watchData, watchExist, watchPersistent, watchRecursive}
	}
	return nil
}

// has tells whether w, or for nil any watcher, watches path in the tables of watcherType;
// others tells whether some other watcher does.
func (t *watchTable) has(path string, w *Watcher, watcherType int32) (found, others bool) {
	for _, k := range kindsOf(watcherType) {
		for _, have := range t.tables[k][path] {
			if w == nil || have == w {
				found = true
			} else {
				others = true
			}
		}
	}
	return found, others
}

// remove takes w, or for nil every watcher, off path and returns the events that this makes.
func (t *watchTable) remove(path string, w *Watcher, watcherType int32) (made []delivery) {
	removed := map[proto.EventType][]*Watcher{}
	for _, k := range kindsOf(watcherType) {
		typ := EventDataWatchRemoved
		switch k {
		case watchChild:
			typ = EventChildWatchRemoved
		case watchPersistent, watchRecursive:
			typ = EventPersistentWatchRemoved
		}
		var keep []*Watcher
		for _, have := range t.tables[k][path] {
			if w == nil || have == w {
				removed[typ] = addWatcher(removed[typ], have)
			} else {
				keep = append(keep, have)
			}
		}
		if len(keep) > 0 {
			t.tables[k][path] = keep
		} else {
			delete(t.tables[k], path)
		}
	}
	for _, typ := range []proto.EventType{EventChildWatchRemoved, EventDataWatchRemoved, EventPersistentWatchRemoved} {
		if len(removed[typ]) > 0 {
			made = append(made, delivery{Event{Type: typ, State: StateConnected, Path: path, Zxid: -1}, removed[typ]})
		}
	}
	return made
}

// setWatches gives whole frames of setWatches requests, or of setWatches2 if there are
// persistent watches, that set every watch again on a new connection, in portions of
// setWatchesBytes (client protocol, section 7.7). Their xid is the special one, so that
// their replies need no place in the queue.
func (t *watchTable) setWatches(lastZxid proto.Zxid) (frames [][]byte) {
	op, kinds := proto.OpSetWatches, int(watchPersistent)
	if len(t.tables[watchPersistent])+len(t.tables[watchRecursive]) > 0 {
		op, kinds = proto.OpSetWatches2, int(watchKinds)
	}
	var lists [watchKinds][]string
	bytes := 0
	flush := func() {
		if bytes == 0 {
			return
		}
		f := make([]byte, 4, bytes+64)
		f = jute.AppendInt32(f, proto.XidSetWatches)
		f = jute.AppendInt32(f, int32(op))
		f = jute.AppendInt64(f, lastZxid)
		for k := range kinds {
			f = jute.AppendInt32(f, int32(len(lists[k])))
			for _, p := range lists[k] {
				f = jute.AppendString(f, p)
			}
			lists[k] = lists[k][:0]
		}
		jute.PutInt32(f, int32(len(f)-4))
		frames = append(frames, f)
		bytes = 0
	}
	for k := range kinds {
		for p := range t.tables[k] {
			if bytes > 0 && bytes+len(p)+4 > setWatchesBytes {
				flush()
			}
			lists[k] = append(lists[k], p)
			bytes += len(p) + 4
		}
	}
	flush()
	return frames
}
