// Package watch holds the watches that the connections of one event loop have set.
//
// There is one Table per loop, guarded by that loop's gate: nothing here locks, and a Table knows only the connections of
// its loop, by dense slot numbers. The replica, which holds all gates when it applies a batch, fires every change on every
// loop's table; so the hash of a path is made once, by KeyOf, and handed in.
//
// # Meaning (client-protocol section 7, the column "Go" of section 13)
//
// Two tables, data and child, are keyed by exact path. For each (connection, path, table) there is a set of modes: standard
// (one-shot), persistent and, in the data table only, persistent-recursive. A change looks up X in a table: entries at X are
// told and lose the standard mode; entries at proper ancestors of X are told if they are recursive; a connection is told at
// most once per lookup. Created, Deleted and DataChanged are the three kinds of change, each with its order of lookups.
//
// # Layout
//
// Sized for 10 million pairs without a Go pointer per watch, so the collector does not walk them. Per table:
//
//	entry, 32 bytes    one (connection, path) pair with its modes: a link of the pair index, and of
//	                   two doubly linked lists: the pairs of the path, the pairs of the connection
//	node, 28 bytes     one watched path: a link of the path index, heads of two lists of entries
//	                   (with and without the recursive mode), the path's length and place
//	blob               the path's bytes, in blocks of 8-byte granularity; both tables share the store
//
// All are numbered by uint32 in slabs of fixed-size chunks, so growth copies nothing large; 0 means none. The indexes are
// linear hashing: buckets heading chains through the records, one bucket split per insertion, no rehash of
// the whole, and no worse than a long chain when hashes collide. That is 36 bytes a pair and 32 bytes plus the name a path.
//
// # Cost
//
// Firing on an empty table is a comparison; a miss is one hash lookup per table consulted. Ancestors are looked up only
// while a recursive watch exists, and only at the depths at which one does. A hit costs O(connections told), removing a
// connection O(its watches). Nothing is allocated when nothing matches, and a fan-out is handed over in batches of batchSize,
// so its memory is bounded. When a table becomes empty its memory is released; a smaller one keeps what it had at its peak.
package watch
