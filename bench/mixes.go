package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

// A namedMix is a load that a kind of system puts on ZooKeeper: the values of flags, and where they come from. Published
// sources tell which requests a system makes, and rarely how many of each; source says which of the two it gives.
type namedMix struct {
	name   string
	what   string
	source string
	// flags are the flags that the mix sets unless the command line does; mix is always among them.
	flags map[string]string
}

var namedMixes = []namedMix{
	{
		name: "paper", what: "the load of ZooKeeper's own evaluation, at 10 reads for 1 write",
		source: "P. Hunt, M. Konar, F. Junqueira, B. Reed: ZooKeeper: Wait-free coordination for Internet-scale systems, USENIX ATC 2010: " +
			"target loads of 2:1 to 100:1 reads to writes; section 5.1: 1 KB of data, at least 100 requests outstanding per client",
		flags: map[string]string{"mix": "get:10,set:1", "payload": "1KiB", "outstanding": "100"},
	},
	{
		name: "read95", what: "a read-mostly store with hot keys: 95 % reads, as asked for of Alibaba's registry",
		source: "the ratio and the zipf exponent are those of workload B of YCSB (Cooper et al., SoCC 2010); for Alibaba's 95 % no published figure was found",
		flags:  map[string]string{"mix": "get:95,set:5", "payload": "100-400", "dist": "zipf:0.99", "keys": "100000"},
	},
	{
		name: "kafka-controller", what: "a Kafka controller moving the leaders of many partitions, pipelined",
		source: "requests: J. Rao, Apache Kafka Supports 200K Partitions Per Cluster (confluent.io/blog, 2018), which tells of the asynchronous writes of partition states; " +
			"KIP-497, which tells of the state znodes and of the notification znodes that are created and deleted; weights are an estimate",
		flags: map[string]string{"mix": "set:60,get:25,createdelete:10,children:5", "payload": "80-140", "keys": "100000", "sessions": "8", "outstanding": "128"},
	},
	{
		name: "clickhouse", what: "ClickHouse replicas inserting, fetching and merging parts",
		source: "requests: ClickHouse documentation, Data replication: about ten entries per inserted block through several transactions; " +
			"T. Schreiber, D. Chia: ClickHouse Keeper (clickhouse.com/blog, 2023); weights are an estimate",
		flags: map[string]string{"mix": "get:35,multi:20,exists:15,createdelete:10,children:10,set:10", "payload": "50-300", "multi-ops": "4", "keys": "50000"},
	},
	{
		name: "hbase", what: "HBase: clients and region servers reading locations, replication positions being written",
		source: "requests: ZooKeeper wiki, HBaseUseCases; HBase replication internals (positions of the logs below /hbase/replication/rs); weights are an estimate",
		flags:  map[string]string{"mix": "get:65,exists:15,set:15,children:3,ephemeral:2", "payload": "40-200", "keys": "5000", "watches": "20"},
	},
	{
		name: "locks", what: "a lock service: create an ephemeral, look at the queue and at the predecessor, delete it",
		source: "ZooKeeper Recipes and Solutions, Locks: one create, one getChildren, one exists and one delete for each time that a lock is held",
		flags:  map[string]string{"mix": "ephemeral:1,children:1,exists:1", "payload": "0", "keys": "1000", "keys-per-dir": "10", "outstanding": "1", "sessions": "200"},
	},
	{
		name: "discovery", what: "service discovery: many clients watch hot entries, which change now and then, and providers come and go",
		source: "requests: ZooKeeper at Twitter (blog.x.com, 2018), How Pinterest scales service discovery with ZooKeeper: ephemerals of the instances, watches of the callers, mostly reads; weights are an estimate",
		flags: map[string]string{"mix": "get:70,children:15,set:5,ephemeral:5,session:5", "payload": "100-300", "keys": "2000", "keys-per-dir": "20",
			"dist": "zipf:0.8", "watches": "20", "sessions": "200", "outstanding": "1"},
	},
}

// mixByName returns the mix with the name, nil when there is none.
func mixByName(name string) *namedMix {
	for i := range namedMixes {
		if namedMixes[i].name == name {
			return &namedMixes[i]
		}
	}
	return nil
}

func mixNames() []string {
	var names []string
	for _, m := range namedMixes {
		names = append(names, m.name)
	}
	return names
}

// apply sets the flags of the mix that the command line left alone.
func (m *namedMix) apply(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range m.flags {
		if !given[name] || name == "mix" {
			if err := fs.Set(name, value); err != nil {
				panic("bench: own mix " + m.name + ": " + err.Error())
			}
		}
	}
}

// runMixes lists the named mixes.
func runMixes(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("zabra bench mixes", flag.ContinueOnError)
	fs.SetOutput(stderr)
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	for _, m := range namedMixes {
		probe := flag.NewFlagSet("", flag.ContinueOnError)
		var flags []string
		addLoadFlags(probe)
		probe.VisitAll(func(f *flag.Flag) {
			if v, ok := m.flags[f.Name]; ok {
				flags = append(flags, "-"+f.Name+" "+v)
			}
		})
		fmt.Fprintf(stdout, "%s: %s\n    %s\n    source: %s\n", m.name, m.what, strings.Join(flags, " "), m.source)
	}
	return nil
}
