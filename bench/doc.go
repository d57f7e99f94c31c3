// Package bench is the command zabra bench: a load generator for any ZooKeeper-compatible ensemble, and the comparison of
// servers by it.
//
//	zabra bench run        measure one ensemble
//	zabra bench plan       find what an ensemble carries within a latency, and what a load needs, and write a report
//	zabra bench report     write the report of a plan again, or of two side by side
//	zabra bench compare    start Debian's Java server and Zabra on this machine and measure both, interleaved
//	zabra bench failover   stop and kill leaders, measure how long clients are without service
//	zabra bench join       have an empty server join, measure how long it takes
//	zabra bench mixes      list the named mixes and where their figures come from
//	zabra bench responder  answer requests without doing anything: the ceiling of a server
//
// The generator is package load; packages capacity and report draw the conclusions of a plan; this package reads the command line and writes results. README.md tells how to use it
// and what was learnt with it.
package bench
