// Package prep turns requests into transactions: it is the first stage of every write, on the
// leader and on a standalone server, and the only place where a write is judged.
//
// A Preparer looks at the tree as it will be when every transaction it has handed out is
// applied: the committed tree plus an overlay of outstanding changes. It checks a request in
// the order that Java ZooKeeper does, gives it the next zxid, and appends the whole proposal
// packet, tree digest included, to the caller's buffer. A request that fails becomes an error
// transaction with a zxid of its own, since peers count on one transaction for each request.
//
// A Preparer belongs to the replica goroutine; nothing here locks, blocks or reads a clock.
// The life of a request is
//
//	Prepare -> log, propose, commit -> Engine.Apply -> Applied(zxid)
//
// where any number of requests may stand between Prepare and Applied. Invariant: for each
// path, the newest overlay record, or else the tree, is what a node will be after the last
// prepared transaction; so preparing does not depend on how far applying has come.
//
// Sources: client protocol, sections 3 to 6 and 14; quorum protocol, sections 5, 6 and 7;
// storage formats, section 4.
package prep
