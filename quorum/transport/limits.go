package transport

import "time"

// Limits that are no option. What happens when one is reached stands beside it.
const (
	// helloAddrsMaxBytes bounds the addresses of an initial message (section 2.2); more: closed.
	helloAddrsMaxBytes = 2048
	// handshakesMax bounds the connections of the election port that have not said who they are; a
	// further one makes the oldest be closed, since a peer says it at once.
	handshakesMax = 64
	// strangersMax bounds the connected servers that no config names; a further one is closed.
	strangersMax = 64
	// eventsMax bounds the events that wait for Drain; a further notification drops the oldest event.
	eventsMax = 100
	// connectBackWait is how long a server with the lower id waits for the other to connect back
	// before a further message makes it knock again. To knock sooner would tear down what the other
	// is about to make.
	connectBackWait = 250 * time.Millisecond
	// lostWithin is how long before the end of a connection something must have been sent on it to be taken
	// for lost, and sent again on a new one.
	lostWithin = time.Second
	// stagger is the head start of one address over the next when a server has several.
	stagger = 100 * time.Millisecond

	// slabBytes is the size of the buffers a link reads into, and slabsMax how many of them may
	// be with the handler; the reader waits for one to come back.
	slabBytes = 64 << 10
	slabsMax  = 8
	// slabKeptMaxBytes is the size above which a buffer, grown for a large packet, is not kept.
	slabKeptMaxBytes = 4 * slabBytes
	// copyMaxBytes is the size up to which a queued packet is copied rather than referred to: below
	// it the copy is cheaper than an entry of its own in the vector of the write.
	copyMaxBytes = 256
	// queueKeptMaxBytes is the size above which the copied bytes of a turn are not kept.
	queueKeptMaxBytes = 1 << 20
	// bulkMaxBytes is how much of a synchronisation waits to be sent; who sends it waits.
	bulkMaxBytes = 4 << 20
	// linksMax bounds the links of a Listener; a further one is closed.
	linksMax = 1024
	// joinedBytes is the most that is written at once to a connection that takes one buffer only.
	joinedBytes = 64 << 10
)
