package hosts

import (
	"errors"
	"fmt"
	"strings"
)

// A Host is a server of the list.
type Host struct {
	Name   string // destination as ssh takes it: host, user@host, or a name of ssh's configuration
	Config string // path of zoo.cfg on the host; empty: the one that zkServer.sh finds by itself
}

// String names the server in messages.
func (h Host) String() string {
	if h.Config == "" {
		return h.Name
	}
	return h.Name + " " + h.Config
}

// ErrList is the kind of the errors about a list of hosts.
var ErrList = errors.New("hosts: bad list")

// ParseList reads the text of a list. Errors are ErrList and name the line.
func ParseList(text string) ([]Host, error) {
	var all []Host
	lines := map[Host]int{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		h := Host{Name: line}
		if end := strings.IndexAny(line, " \t"); end >= 0 {
			h = Host{Name: line[:end], Config: strings.TrimSpace(line[end:])}
		}
		if strings.HasPrefix(h.Name, "-") {
			return nil, fmt.Errorf("%w: line %d: %q would be an option of ssh; begin the line with a host", ErrList, i+1, h.Name)
		}
		if before := lines[h]; before != 0 {
			return nil, fmt.Errorf("%w: line %d: %s stands in line %d already; give each server once", ErrList, i+1, h, before)
		}
		lines[h] = i + 1
		all = append(all, h)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no server in it; write lines of a host and the path of its zoo.cfg", ErrList)
	}
	return all, nil
}
