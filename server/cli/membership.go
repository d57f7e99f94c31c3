package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

func (s *shell) config(p *parsed) error {
	zk, err := s.client(client.ConfigPath)
	if err != nil {
		return err
	}
	var w *client.Watcher
	if p.has("w") {
		w = zk.DefaultWatcher()
	}
	data, stat, err := zk.GetConfigW(s.ctx, w)
	if err != nil {
		return err
	}
	text := dataText(data, false, false)
	if p.has("c") {
		text = clientAddresses(text)
	}
	text += "\n"
	if p.has("s") {
		text += statText(stat)
	}
	fmt.Fprint(s.out, text)
	return nil
}

// clientAddresses turns a configuration into "VERSION host:port,host:port", with an empty
// entry for each member whose client address is not in it. Lines that are no members are
// passed over (ConfigUtils.getClientConfigStr).
func clientAddresses(text string) string {
	version := ""
	var addrs []string
	for line := range strings.SplitSeq(text, "\n") {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case key == "version":
			version = value
		case strings.HasPrefix(key, "server."):
			m, err := config.ParseMember(-1, value, true)
			if err != nil {
				continue
			}
			addr := ""
			if m.Client.Enabled {
				addr = fmt.Sprintf("%s:%d", m.Client.Host, m.Client.Port)
			}
			addrs = append(addrs, addr)
		}
	}
	return version + " " + strings.Join(addrs, ",")
}

func (s *shell) reconfig(p *parsed) error {
	whole, step := p.has("file") || p.has("members"), p.has("add") || p.has("remove")
	r := client.Reconfig{FromVersion: -1}
	switch {
	case !whole && !step:
		return failure("%s", findCommand("reconfig").usageText())
	case p.has("v"):
		v, err := strconv.ParseInt(p.values["v"], 16, 64)
		if err != nil {
			return failure("-v must be followed by a long (configuration version)")
		}
		r.FromVersion = v
	}
	switch {
	case whole && step:
		return failure("Can't use -file or -members together with -add or -remove" +
			" (mixing incremental and non-incremental modes is not allowed)")
	case p.has("file") && p.has("members"):
		return failure("Can't use -file and -members together (conflicting non-incremental modes)")
	}
	r.Joining = strings.ToLower(p.values["add"])
	r.Leaving = strings.ToLower(p.values["remove"])
	r.Members = strings.ToLower(p.values["members"])
	if name, ok := p.values["file"]; ok {
		members, err := readMembers(name)
		if errors.Is(err, fs.ErrNotExist) {
			// Java puts its two messages together without anything between them.
			return failure("Error processing %s%s (No such file or directory)", name, name)
		}
		if err != nil {
			return failure("Error processing %s: %v", name, err)
		}
		r.Members = members
	}
	zk, err := s.client("")
	if err != nil {
		return err
	}
	text, stat, err := zk.Reconfig(s.ctx, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Committed new configuration:\n%s\n", text)
	if p.has("s") {
		fmt.Fprint(s.out, statText(stat))
	}
	return nil
}

// readMembers reads a dynamic configuration file and gives its lines in order; whether they
// make sense as an ensemble is for the leader to judge.
func readMembers(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	q, err := config.ParseDynamic(text, true)
	if err != nil {
		return "", err
	}
	return strings.Join(q.Lines(), "\n"), nil
}
