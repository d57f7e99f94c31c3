package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"zabra.dev/zabra/wal/walfs"
)

// Words that stand in Options.Command for what differs between servers.
const (
	CFG  = "CFG"  // path of zoo.cfg
	ADDR = "ADDR" // client address, host:port
)

// ServersMax bounds the number of servers, observers included.
const ServersMax = 99

var (
	// ErrInUse reports that somebody else has an ensemble in the same directory.
	ErrInUse = errors.New("local: the directory is in use by another ensemble")
	// ErrPortTaken reports a port of a server that cannot be listened on.
	ErrPortTaken = errors.New("local: port is taken")
	// ErrSetting reports a setting that the ensemble makes itself.
	ErrSetting = errors.New("local: this setting is made by the ensemble itself")
	// ErrNoServers reports a number of servers that no ensemble has.
	ErrNoServers = fmt.Errorf("local: an ensemble has 1 to %d servers, one of them no observer at least", ServersMax)
)

// Options tell what an ensemble is to be.
type Options struct {
	// Servers is the number of voters, Observers that of servers beside them. One voter alone is a standalone server,
	// unless Settings has standaloneEnabled=false.
	Servers, Observers int
	// Dir is made when it is missing.
	Dir string
	// Port is the client port of the first server. 0: free ports are looked for below the range from which the system
	// takes those of outgoing connections.
	Port int
	// Fresh removes data and logs of an earlier ensemble in Dir.
	Fresh bool
	// Settings come on top of the common ones (see baseSettings) in each zoo.cfg; a value "" removes a key.
	Settings map[string]string
	// Command is the command line of a server, with CFG and ADDR. Nil: this program, as "zabra server CFG".
	Command []string
}

// baseSettings are those of every server.
var baseSettings = map[string]string{
	"tickTime":               "2000",
	"initLimit":              "10",
	"syncLimit":              "5",
	"maxClientCnxns":         "0",
	"admin.enableServer":     "false",
	"4lw.commands.whitelist": "*",
}

// An Ensemble is a group of servers on this machine, running or not.
type Ensemble struct {
	Servers []*Server // server N is element N-1
	dir     string
	lock    io.Closer
}

// New lays an ensemble out below o.Dir and starts nothing. Who calls it must call Close. Errors: ErrInUse, ErrPortTaken,
// ErrSetting, ErrNoServers, those of writing files.
func New(o Options) (*Ensemble, error) {
	n := o.Servers + o.Observers
	if o.Servers < 1 || o.Observers < 0 || n > ServersMax {
		return nil, ErrNoServers
	}
	for key := range o.Settings {
		if isOwn(key) {
			return nil, fmt.Errorf("%w: %s", ErrSetting, key)
		}
	}
	if o.Command == nil {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("local: %w", err)
		}
		o.Command = []string{exe, "server", CFG}
	}
	// Servers run in directories of their own.
	if name := o.Command[0]; strings.ContainsRune(name, filepath.Separator) {
		name, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("local: %w", err)
		}
		o.Command = append([]string{name}, o.Command[1:]...)
	}
	dir, err := filepath.Abs(o.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	lock, err := walfs.OS{}.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, walfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	e := &Ensemble{dir: dir, lock: lock}
	if err := e.layOut(o); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return e, nil
}

// isOwn tells settings that differ between the servers of an ensemble.
func isOwn(key string) bool {
	switch key {
	case "dataDir", "dataLogDir", "clientPort", "clientPortAddress", "peerType", "dynamicConfigFile":
		return true
	}
	return strings.HasPrefix(key, "server.")
}

func (e *Ensemble) layOut(o Options) error {
	n := o.Servers + o.Observers
	port := o.Port
	var err error
	if port == 0 {
		port, err = findPorts(n)
	} else {
		err = checkPorts(port, n)
	}
	if err != nil {
		return err
	}
	if o.Fresh {
		if err := e.removeData(); err != nil {
			return err
		}
	}
	members := map[string]string{}
	if n > 1 || o.Settings["standaloneEnabled"] == "false" {
		for i := range n {
			kind := "participant"
			if i >= o.Servers {
				kind = "observer"
			}
			members[fmt.Sprintf("server.%d", i+1)] = fmt.Sprintf("127.0.0.1:%d:%d:%s;127.0.0.1:%d", port+quorumAbove+i, port+electionAbove+i, kind, port+i)
		}
	}
	for i := range n {
		s := &Server{ID: i + 1, Observer: i >= o.Servers, command: o.Command, dir: filepath.Join(e.dir, strconv.Itoa(i+1)), port: port + i}
		own := map[string]string{"dataDir": s.DataDir(), "clientPort": strconv.Itoa(s.port), "clientPortAddress": "127.0.0.1"}
		if s.Observer {
			own["peerType"] = "observer"
		}
		s.members, s.settings = members, []map[string]string{baseSettings, own, o.Settings}
		if err := s.layOut(); err != nil {
			return err
		}
		e.Servers = append(e.Servers, s)
	}
	return nil
}

// removeData removes data and logs of what looks like servers of an earlier ensemble, however many it had.
func (e *Ensemble) removeData() error {
	for id := 1; id <= ServersMax; id++ {
		s := &Server{dir: filepath.Join(e.dir, strconv.Itoa(id))}
		_, err := os.Stat(s.Config())
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		for _, path := range []string{s.DataDir(), s.Log(), s.Config()} {
			if err == nil {
				err = os.RemoveAll(path)
			}
		}
		if err != nil {
			return fmt.Errorf("local: %w", err)
		}
	}
	return nil
}

// Dir returns the directory of the ensemble.
func (e *Ensemble) Dir() string { return e.dir }

// Set changes a setting of all servers, from their next start on; the value "" removes it.
func (e *Ensemble) Set(key, value string) error {
	if isOwn(key) {
		return fmt.Errorf("%w: %s", ErrSetting, key)
	}
	for _, s := range e.Servers {
		if err := s.set(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Addrs returns the client addresses, each host:port.
func (e *Ensemble) Addrs() []string {
	var all []string
	for _, s := range e.Servers {
		all = append(all, s.Addr())
	}
	return all
}

// ConnectString is what clients take.
func (e *Ensemble) ConnectString() string { return strings.Join(e.Addrs(), ",") }

// Start starts all servers that do not run and waits until each serves, at most for timeout. After an error some may run.
func (e *Ensemble) Start(timeout time.Duration) error {
	for _, s := range e.Servers {
		if err := s.Start(); err != nil && !errors.Is(err, ErrRunning) {
			return err
		}
	}
	until := time.Now().Add(timeout)
	for _, s := range e.Servers {
		if err := s.WaitServing(time.Until(until)); err != nil {
			return err
		}
	}
	return nil
}

// Status asks all servers at once what they are.
func (e *Ensemble) Status() []Status {
	all := make([]Status, len(e.Servers))
	var wg sync.WaitGroup
	for i, s := range e.Servers {
		wg.Go(func() { all[i] = s.Status() })
	}
	wg.Wait()
	return all
}

// Leader returns the server that says it leads, the standalone one included; nil when there is none at the moment.
func (e *Ensemble) Leader() *Server {
	for i, st := range e.Status() {
		if st.Leads() {
			return e.Servers[i]
		}
	}
	return nil
}

// WaitLeader waits until a server leads. The error is ErrNotServing.
func (e *Ensemble) WaitLeader(timeout time.Duration) (*Server, error) {
	for until := time.Now().Add(timeout); ; time.Sleep(pollTime) {
		if s := e.Leader(); s != nil {
			return s, nil
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%w: no leader after %v", ErrNotServing, timeout)
		}
	}
}

// Stop asks all servers to end and waits; those that have not ended after timeout are killed, which the error tells.
func (e *Ensemble) Stop(timeout time.Duration) error {
	errs := make([]error, len(e.Servers))
	var wg sync.WaitGroup
	for i, s := range e.Servers {
		wg.Go(func() { errs[i] = s.Stop(timeout) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Kill kills all servers that run, as a crash would, and waits for their ends.
func (e *Ensemble) Kill() {
	for _, s := range e.Servers {
		s.Kill()
	}
}

// Close kills the servers that still run and lets go of the directory, which stays. The error is that of the latter.
func (e *Ensemble) Close() error {
	e.Kill()
	return e.lock.Close()
}
