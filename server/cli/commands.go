package cli

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"zabra.dev/zabra/server"
)

// A command is one word of the shell.
type command struct {
	name  string
	usage string // its arguments, as the usage text shows them
	flags flagSet
	// minArgs is how many arguments besides flags it needs; with fewer its usage is printed.
	minArgs int
	// onlyMin: with more its usage is printed, too.
	onlyMin bool
	// needsSession: without a live session the shell answers "Not connected".
	needsSession bool
	// flagHelp: its usage text, printed alone, goes on with a table of its flags.
	flagHelp bool
	run      func(s *shell, p *parsed) error
}

func (c *command) usageText() string {
	text := c.name + " " + c.usage
	if c.flagHelp {
		text += "\n" + c.flags.table()
	}
	return text
}

func plainFlags(names ...string) flagSet {
	var fs flagSet
	for _, n := range names {
		name, value := strings.CutSuffix(n, " value")
		fs.flags = append(fs.flags, flag{name: name, hasValue: value})
	}
	return fs
}

// quotaFlags are those of setquota and delquota; the help is what a missing one is called by.
func quotaFlags(hasValue bool) flagSet {
	return flagSet{exclusive: true, required: hasValue, flags: []flag{
		{"n", hasValue, "num soft quota"},
		{"b", hasValue, "bytes soft quota"},
		{"N", hasValue, "num hard quota"},
		{"B", hasValue, "bytes hard quota"},
	}}
}

// commands returns all commands, sorted by name. Names and usage are those of operations,
// section 2.4. It is a function because help and redo reach back into the table.
func commands() []command {
	return []command{
		{name: "addWatch", usage: "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
			flags: plainFlags("m value"), minArgs: 1, onlyMin: true, needsSession: true, run: (*shell).addWatch},
		{name: "addauth", usage: "scheme auth", minArgs: 1, needsSession: true, run: (*shell).addAuth},
		{name: "close", needsSession: true, run: (*shell).close},
		{name: "config", usage: "[-c] [-w] [-s]", flags: plainFlags("s", "w", "c"), needsSession: true, run: (*shell).config},
		{name: "connect", usage: "host:port", run: (*shell).reconnect},
		{name: "create", usage: "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
			flags: plainFlags("e", "s", "c", "t value"), minArgs: 1, needsSession: true, run: (*shell).create},
		{name: "delete", usage: "[-v version] path", flags: plainFlags("v value"), minArgs: 1, needsSession: true, run: (*shell).delete},
		{name: "deleteall", usage: "path [-b batch size]", flags: plainFlags("b value"), minArgs: 1, needsSession: true, run: (*shell).deleteAll},
		{name: "delquota", usage: "[-n|-b|-N|-B] path", flags: quotaFlags(false), minArgs: 1, needsSession: true, run: (*shell).delQuota},
		{name: "exit", run: (*shell).leave},
		{name: "get", usage: "[-s] [-w] [-b] [-x] path", flagHelp: true, flags: flagSet{flags: []flag{
			{"s", false, "Print znode stats additionally"},
			{"w", false, "Watch for changes on the znode"},
			{"b", false, "Output data in base64 format"},
			{"x", false, "Output data in hexdump format"},
		}}, minArgs: 1, needsSession: true, run: (*shell).get},
		{name: "getAcl", usage: "[-s] path", flags: plainFlags("s"), minArgs: 1, needsSession: true, run: (*shell).getACL},
		{name: "getAllChildrenNumber", usage: "path", minArgs: 1, needsSession: true, run: (*shell).getAllChildrenNumber},
		{name: "getEphemerals", usage: "path", needsSession: true, run: (*shell).getEphemerals},
		{name: "history", run: (*shell).printHistory},
		{name: "listquota", usage: "path", minArgs: 1, needsSession: true, run: (*shell).listQuota},
		{name: "ls", usage: "[-s] [-w] [-R] path", flags: plainFlags("?", "s", "w", "R"), minArgs: 1, needsSession: true, run: (*shell).ls},
		{name: "printwatches", usage: "on|off", run: (*shell).setPrintWatches},
		{name: "quit", run: (*shell).leave},
		{name: "reconfig", usage: "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | " +
			"[-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
			flags:        plainFlags("s", "v value", "file value", "members value", "add value", "remove value"),
			needsSession: true, run: (*shell).reconfig},
		{name: "redo", usage: "cmdno", run: (*shell).redo},
		{name: "removewatches", usage: "path [-c|-d|-a] [-l]", flags: plainFlags("c", "d", "p", "r", "a", "l"),
			minArgs: 1, needsSession: true, run: (*shell).removeWatches},
		{name: "set", usage: "path data [-s] [-v version] [-b]", flagHelp: true, flags: flagSet{flags: []flag{
			{"s", false, "Print znode stats additionally"},
			{"v", true, "Set with an expected version"},
			{"b", false, "Supply data in base64 format"},
		}}, minArgs: 2, needsSession: true, run: (*shell).set},
		{name: "setAcl", usage: "[-s] [-v version] [-R] path acl", flags: plainFlags("s", "v value", "R"),
			minArgs: 2, needsSession: true, run: (*shell).setACL},
		{name: "setquota", usage: "-n|-b|-N|-B val path", flags: quotaFlags(true), minArgs: 1, needsSession: true, run: (*shell).setQuota},
		{name: "stat", usage: "[-w] path", flags: plainFlags("w"), minArgs: 1, needsSession: true, run: (*shell).stat},
		{name: "sync", usage: "path", minArgs: 1, needsSession: true, run: (*shell).sync},
		{name: "version", onlyMin: true, run: (*shell).version},
		{name: "whoami", needsSession: true, run: (*shell).whoAmI},
	}
}

func findCommand(name string) *command {
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

func (s *shell) version(*parsed) error {
	fmt.Fprintln(s.out, "ZooKeeper CLI version: "+server.Version())
	return nil
}

func (s *shell) whoAmI(*parsed) error {
	zk, err := s.client("")
	if err != nil {
		return err
	}
	infos, err := zk.WhoAmI(s.ctx)
	if err != nil {
		return err
	}
	sort.Slice(infos, func(i, j int) bool {
		return infos[i].Scheme < infos[j].Scheme || infos[i].Scheme == infos[j].Scheme && infos[i].User < infos[j].User
	})
	fmt.Fprintln(s.out, "Auth scheme: User")
	for _, i := range infos {
		fmt.Fprintln(s.out, i.Scheme+": "+i.User)
	}
	return nil
}

func (s *shell) addAuth(p *parsed) error {
	zk, err := s.client("")
	if err != nil {
		return err
	}
	var auth []byte // null without the argument
	if len(p.args) > 1 {
		auth = []byte(p.args[1])
	}
	return zk.AddAuth(s.ctx, p.args[0], auth)
}

// version is the value of -v, -1 without.
func (p *parsed) version() (int32, error) {
	text, ok := p.values["v"]
	if !ok {
		return -1, nil
	}
	return parseVersion(text)
}

func parseVersion(text string) (int32, error) {
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, failure("a version must be a 32-bit number, not %q", text)
	}
	return int32(v), nil
}

func (s *shell) deprecated(old, now string) {
	fmt.Fprintf(s.err, "'%s' has been deprecated. Please use '%s' instead.\n", old, now)
}
