// Package config reads what an operator wrote for a ZooKeeper server (zoo.cfg, the dynamic
// configuration file, myid, and -D words in JVMFLAGS and SERVER_JVMFLAGS) into one typed Config.
//
// Every key the 3.8 and 3.9 lines know is a row of one table (Keys). A row says the key's default, kind
// and unit, and how it is treated:
//
//   - Honoured: the value reaches a field of Config;
//   - Kept: the value is checked and reaches a field, but nothing in this build acts on it; one warning;
//   - NoEffect: the key belongs to the Java process; one warning says why it does nothing here;
//   - ClientSide: the key is for clients; silent.
//
// A key that is in no row is accepted with one warning that names the nearest known key, because the
// Java server accepts every key. A wrong value of an honoured key is refused with an *Error that holds
// the exit code and the text of the Java server, the key, the value and what to write instead.
// Deliberate deviations from Java: a number that Java would silently replace by its default is refused;
// jute.maxbuffer and its unprefixed kin are honoured in zoo.cfg; multiAddress.enabled works in zoo.cfg;
// the misleading names of the upstream manual are aliases.
//
// Precedence, weakest first: the default, -D words of SERVER_JVMFLAGS, -D words of JVMFLAGS, zoo.cfg.
//
// The package starts no goroutine and keeps no state. Parse touches no file; Load, and the functions of
// datadir.go and write.go, do. The server process calls it once at start, on its main goroutine; the
// reconfiguration path calls the writers later. Source of all rules: spec/operations.md, chapter 1.
package config
