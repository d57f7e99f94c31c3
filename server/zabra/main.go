// Command zabra is a ZooKeeper server, its tools and its client in one binary. It answers to the
// names of the originals as well: called zkServer.sh, zkServer-initialize.sh or zkCli.sh (links made by
// make build), it is that command.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"zabra.dev/zabra/bench"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/cli"
	"zabra.dev/zabra/server/hosts"
	"zabra.dev/zabra/server/script"
)

// A verb is a subcommand.
type verb struct {
	name, args, help string
	run              func(args []string) int
}

func verbs() []verb {
	return []verb{
		{"server", "[CFG | PORT DATADIR [TICKTIME [MAXCNXNS]]]", "run one server in the foreground; without CFG a standalone server on port 2181 with data in ./zabra-data", runServer},
		{"ensemble", ensembleArgs, "run an ensemble on this machine, each server a process of its own, until Ctrl-C", runEnsemble},
		{"zkServer", "{start|stop|restart|status|...} [CFG]", "what zkServer.sh does", runScript},
		{"hosts", hosts.Usage, "start, stop or restart the servers of a list of hosts by ssh, the leader last, or tell what they are", runHosts},
		{"cli", "[-server HOST:PORT] [COMMAND]", "what zkCli.sh does", runCLI},
		{"import", "[-log DIR] [-trust-empty] [-allow-damage] DIR [CFG]", "read the version-2 snapshots and logs of a Java server below DIR into the data directory", runImport},
		{"export", "[-compress gz|snappy] [-parts KIND] DIR [CFG]", "write the data as a snapshot below DIR/version-2 that Java servers load; the server must not be running", runExport},
		{"dump", "FILE|DIR", "print a snapshot or log, Java's or Zabra's, as text", runDump},
		{"verify", "[CFG]", "check image and log; changes nothing", runVerify},
		{"bench", "[FLAGS]", "put load on a server, ZooKeeper's or Zabra's, and measure; zabra bench -h lists the flags", runBench},
		{"version", "", "print the version", runVersion},
	}
}

func main() {
	switch name := filepath.Base(os.Args[0]); {
	case script.Handles(name):
		os.Exit(runScriptAs(os.Args))
	case name == "zkCli.sh":
		os.Exit(runCLI(os.Args[1:]))
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(os.Stdout)
		return 0
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			return v.run(args[1:])
		}
	}
	fmt.Fprintf(os.Stderr, "zabra: no command %q\n\n", args[0])
	usage(os.Stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: zabra COMMAND [ARGUMENTS]")
	for _, v := range verbs() {
		fmt.Fprintf(w, "\n  zabra %s %s\n      %s\n", v.name, v.args, v.help)
	}
}

func runVersion([]string) int {
	fmt.Println("Zabra, ZooKeeper " + server.Version())
	return 0
}

func runScript(args []string) int { return runScriptAs(append([]string{"zkServer.sh"}, args...)) }

func runScriptAs(argv []string) int {
	return script.Main(argv, os.Environ(), os.Stdout, os.Stderr)
}

func runHosts(args []string) int { return hosts.Main(args, os.Stdout, os.Stderr) }

func runCLI(args []string) int { return cli.Main(args, os.Stdin, os.Stdout, os.Stderr) }

func runBench(args []string) int { return bench.Main(args, os.Stdout, os.Stderr) }
