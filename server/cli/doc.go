// Package cli is zkCli.sh, the shell of ZooKeeper: the original's commands, flags, output
// and exit codes, in the form of 3.9 where its lines differ.
//
// Main runs one command given as arguments, or reads commands: from a terminal with line
// editing, history and completion of commands and znode paths, from anything else line by
// line, with the prompt printed all the same, as the original does.
//
// What scripts rely on: results go to standard output; "Created PATH", usage and errors go
// to standard error; the exit code is that of the last command, 0, 1 for an error, 127 for
// an unknown command. Events are printed by another goroutine than results, but those that a
// command caused always before the next prompt. Like the original, a process that ends
// without close or quit does not close its session: ephemerals live until its timeout.
//
// The original is better not followed where it falls over an exception: bad numbers, bad
// base64 and the like are errors of the command here. "delete PATH VERSION", the form of 3.4,
// checks the version; the original warns of the form and deletes any version. addauth waits
// for the server's verdict. A one-shot command that needs no server (version, history, usage)
// does not connect.
//
// On a terminal the package uses github.com/ergochat/readline rather than peterh/liner,
// because output may come while a line is being edited: readline prints a watch event above
// the prompt and draws the line again, liner would leave it in the middle of the line.
//
// The one binary calls Main when its name is zkCli.sh. Sources: operations, sections 2.3 and
// 2.4, and recorded transcripts in testdata.
package cli
