package config

// Names below dataDir and dataLogDir.
const (
	MyIDFile       = "myid"
	InitializeFile = "initialize"           // its presence lets an empty server vote, see db.autocreate
	PIDFile        = "zookeeper_server.pid" // written by zkServer.sh
	JavaDir        = "version-2"            // snapshots and logs of a Java server
)
