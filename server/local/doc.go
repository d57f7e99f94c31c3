// Package local runs the servers of an ensemble as processes of this machine: for trying out (zabra ensemble),
// for measurements and for tests that kill and restart servers.
//
// New lays an ensemble out below one directory and starts nothing:
//
//	DIR/lock           held for as long as the Ensemble is open
//	DIR/N/zoo.cfg      configuration of server N; zkServer.sh takes it as it is
//	DIR/N/data         dataDir, with myid
//	DIR/N/server.log   output of its processes, appended to
//
// Voters are numbered from 1, observers follow. Server N has the client port P+N-1, the quorum port 1000 above and
// the election port 2000 above, all of 127.0.0.1. Data that is there is kept, so an ensemble that is laid out again with the
// same options goes on where it ended; what a reconfiguration wrote is kept too.
//
// Each server is a child of this process, in a process group of its own, so that Ctrl-C does not reach it. When this
// process ends in whatever way, the child does: Zabra's server by itself, as it watches its end of a pipe (WatchParent), and on
// Linux any other, which the kernel kills. Only processes that were started here are ever signalled.
//
//	e, err := local.New(local.Options{Servers: 3, Dir: t.TempDir(), Command: []string{"bin/zabra", "server", local.CFG}})
//	...
//	defer e.Close()
//	err = e.Start(time.Minute)
//	leader, err := e.WaitLeader(time.Minute)
//	leader.Kill()
//	err = leader.Start()
//
// Methods may be called from any goroutine.
package local
