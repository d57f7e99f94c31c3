// Package load is the generator of zabra bench: it speaks the raw client protocol from a few
// event loops and measures any ZooKeeper-compatible ensemble.
//
// # Shape
//
// A Run owns Config.Loops loops. A loop is one goroutine with one epoll set and a share of the
// sessions; nothing on its hot path is shared with another goroutine. One turn of a loop is: wait
// for readiness, one read per ready connection, account for every reply in it, make as many new
// requests, one write. Requests are written from templates into the connection's outbound buffer,
// replies are recognised by their first few bytes and otherwise skipped, so that a request costs
// neither an allocation nor a system call of its own.
//
// # Closed and open loop
//
// Without a rate, every session keeps Config.Outstanding requests under way: the loop is closed
// and measures throughput. With a rate, requests have a schedule that does not depend on the
// server: each has an intended time, waits in a backlog when all sessions are full, and its latency
// counts from the intended time. A server that stalls is thus charged for every request that would
// have been sent meanwhile (no coordinated omission). Replies to the schedule's requests count even
// when they come after its end; those that never come are reported as unfinished.
//
// # Order
//
// ZooKeeper answers the requests of a connection in their order, so the replies are matched with a
// ring of the requests under way. The xid of each reply is compared; a server that breaks the order
// fails the run.
//
// # Failures
//
// A session whose connection breaks is resumed with the next server of Config.Addrs, as a client
// would; requests under way count as lost. Replies with an error code are counted by code and kept
// out of the latency histograms. When no session has been up for Config.Patience the run ends early:
// Run then returns the figures measured so far, marked incomplete, together with the error.
//
// Everything below bench/ may use the package; it imports the encoding (engine/jute, engine/proto)
// and nothing else of the project. Sources: client protocol, sections 1, 2, 3, 6, 7 and 9.1.
package load
