// Package script is zkServer.sh and zkServer-initialize.sh: the same commands, texts, streams and exit
// codes as the shell scripts of ZooKeeper 3.8 and 3.9, built into the server's binary, which calls Main when
// it runs under one of those names. No shell is needed, but zookeeper-env.sh and java.env in the
// configuration directory are shell and are sourced by one when there is one.
//
// Where the original is wrong or blind, this one differs:
//
//   - zoo.cfg is read by the server's own parser, so "clientPort = 2181" with blanks is found;
//   - without any zoo.cfg, and none asked for, the server runs with config.DefaultText;
//   - start tells STARTED from FAILED TO START by what the server reports (see Notifier), not by its being
//     alive after a second, and repeats the end of the server's output when it failed;
//   - stop waits for the end of the process; it never signals a process that is no ZooKeeper server, and
//     says NOT STOPPED, exit 1, when the process is still there;
//   - restart keeps --config; a zombie does not count as running;
//   - the data directory is created by start alone, not by every command.
//
// A call runs on the caller's goroutine. Source: spec/operations.md 2.1, 2.2.
package script
