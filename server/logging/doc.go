// Package logging writes the server's log lines in the default console format of the Java server:
//
//	2026-11-21 22:51:06,128 [myid:1] - INFO  [main:config@177] - Reading configuration from: /conf/zoo.cfg
//	DATE (local time)       [myid:N] - LEVEL [THREAD:CLASS@LINE] - MESSAGE
//
// LEVEL is padded to five characters. The id is on every line from the moment it is known, not only on
// those of the main thread. THREAD names what the line is about, as the Java server's thread names do
// (SyncThread:1, LearnerHandler-/10.0.0.7:41234); CLASS is the component, by default the Go package of the
// caller; LINE is the caller's. An event is one line: line breaks in messages and values are escaped, and
// the cause of a failure stands on the same line.
//
// Handler is a slog.Handler, so the rest of the server knows log/slog only. Attributes follow the message as
// key=value, but for Thread and Component, which fill the bracket, and Err, whose text follows a colon:
//
//	log := logging.Component(slog.New(handler), "QuorumPeer")
//	log.Warn("Exception when following the leader", logging.Err(err))
//
// A handler may be used by any number of goroutines; a line is one Write. Source: spec/operations.md 6.1.
package logging
