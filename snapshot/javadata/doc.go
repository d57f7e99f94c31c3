// Package javadata reads and writes the data directories of Java ZooKeeper servers: snapshots and
// transaction logs of "version-2", and the epoch files beside them.
//
// # Reading
//
// ReadSnapshot streams one snapshot (plain, gzip or Snappy; with none, one or both of the parts that
// releases have put behind the nodes) into a SnapshotSink and checks every seal. LogReader streams the
// records of one log file and says how it ended. Load does what a server does at start: it takes the newest
// snapshot that is sound, replays the logs behind it, and gives an engine with a Report. Nothing is held in
// memory beside the engine but one node or transaction at a time.
//
// # Writing
//
// SnapshotWriter, and Export on top of it, write a snapshot that every Java release from 3.4 on loads, the
// newest with the parts that its settings ask for (Parts). ReadTree, LoadTree and ExportTree do the same for
// the bare tree that a leader sends a learner.
//
// # Tools
//
// DumpSnapshot and DumpLog write a file as text; PlanPurge says what Java's purge would delete; Detect tells
// what a directory holds.
//
// # Who calls it
//
// The server at start and its import and export commands; the streams also serve the synchronisation with
// Java servers and the admin commands that hand a snapshot out or take one in. The package starts no
// goroutine and keeps no state; a value of any of its types belongs to one goroutine. All files are reached
// through a vfs.FS.
//
// Source: storage formats, all sections; section numbers in this package's comments are those.
package javadata
