// Package hosts is zabra hosts: it starts, stops, restarts and asks the servers of a list by ssh, with the zkServer.sh of
// each host, Zabra's or ZooKeeper's.
//
//	zabra hosts -f FILE {start|stop|status|restart}
//
// The file has a server per line: where ssh is to go, and behind blanks the path of its zoo.cfg there, which
// may have blanks itself and may be missing. A # begins a comment at the start of a line.
//
//	# host           zoo.cfg
//	zk@zk1.example   /etc/zookeeper/conf/zoo.cfg
//	zk2.example
//
// Restart goes from one server to the next, the leader last. It begins when all servers serve and one of them
// leads, and goes on only when that is so again: a server serves when it is in sync with the leader. So there is never more than one server
// less than before, and one change of leaders.
//
// ssh is the program of that name on PATH. It must not ask anything: keys and known hosts are the admin's business. Words of
// the remote command reach the remote shell quoted, so that nothing in a path means anything to it.
package hosts
