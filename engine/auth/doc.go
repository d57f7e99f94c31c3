// Package auth decides who may do what: the identities that a connection has shown, the access
// control lists of znodes, and how the two are matched.
//
// A Registry holds the authentication providers of a server: world, ip, digest and super are
// built in; sasl, x509, ensemble and others come in through the Provider interface. It is made
// once from the configuration and never changes, so it may be used from any goroutine without
// a lock: event loops check reads with it, the replica goroutine checks writes.
//
// Identities travel with each request as they were when the request was read; they are values
// that nobody changes in place (Merge gives a new slice). Access control lists stay in their
// encoded form (proto.RawACLs) all the way from the request to the tree, so that evaluating
// one allocates nothing.
//
// The package does no I/O, starts no goroutine and reads no clock. Source: client protocol,
// section 8 and 10.3.
package auth
