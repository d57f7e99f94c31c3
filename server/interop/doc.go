// Package interop holds the tests that drive a standalone Zabra server and real Java servers
// with the same unchanged clients and compare what the clients see, line by line.
//
// The tests have the build tag interop (`make interop`): they need Java servers, client
// libraries and their tools, which setup.sh installs. A piece that is not there is named in
// a summary at the end of the run, together with what was not tested for it.
//
// How it works. A tour is a program (in Go, Java, Python, C or shell commands) that runs
// against one server and prints a line per step, "step | what was seen", with everything
// that may differ from run to run taken out: session ids, times, absolute zxids. Zxids are
// printed as increments, so that what consumes a zxid is compared as well. Each tour runs
// against a fresh server of each kind, and the transcript of Zabra is compared with that of
// each Java server. The table knownDifferences lists every behaviour in which Zabra
// knowingly differs, with its reason; a row that no longer matches anything fails the test.
//
// Beside the tours there are ensembles of processes: of Zabra with Java servers, and of Zabra alone in network
// namespaces, where servers are killed, stopped and cut off from each other (TestPartitions; `make soak` does so
// for long).
//
// With -interop.subject=java38 (or java39) a second Java server takes Zabra's place, which
// must give no difference at all and so proves that the tours print nothing accidental.
package interop
