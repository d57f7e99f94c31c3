// Package client is a ZooKeeper client: sessions, watches, every operation of the client
// protocol, and below it a raw layer for those who want to hold each frame in their hands.
//
// # Client
//
// New returns at once and connects in the background; Dial waits for the session. A Client
// keeps one connection to one of its servers and moves to another when it is lost, with the
// same session, its identities and its watches (setWatches, or setWatches2 when there are
// persistent ones). Every method may be called from any goroutine; calls are pipelined in
// the order in which they take the client's lock, and what piles up while a write is under
// way goes out in the next write. A call made while there is no connection waits for one, at
// most as long as the session timeout. A call in flight when the connection breaks fails
// with ErrConnectionLoss: whether the server executed it is unknown.
//
// A cancelled context abandons the wait, not the request: the server may still execute it,
// and a watch that it sets is still delivered.
//
// Three goroutines belong to a Client: run connects and reads, a writer per connection
// writes and pings, and deliver hands events to handlers. New starts them, Close and Abandon
// end them and wait. While the server is read-only a fourth looks for a better one.
//
// # Watches
//
// A watch goes to a Watcher, a handler or a channel, in the order of the server's
// notifications, one event at a time. Changes of the session's state go to Options.OnEvent;
// Watchers get only those that end it (expired, authentication failed, closed), after which
// they never fire. The queue in front of the handlers has no bound, since a bound could only
// lose events or stop a handler that makes calls.
//
// # Raw
//
// DialRaw, Raw.Handshake, Raw.SendFrame and Raw.ReadFrame send and show exactly the frames
// they are given. FourLetter asks a server one of its four-letter words.
//
// Errors of operations are *Error and match the proto.ErrCode inside by errors.Is.
//
// The package stands in server/: tools, tests and the load generator may import it.
// Sources: client protocol, all sections; section 12 for what servers expect of clients.
package client
