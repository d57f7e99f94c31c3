package capacity

import (
	"fmt"
	"math"
)

// An Answer says which ensembles carry a need.
type Answer struct {
	Need Need `json:"need"`
	// Utilisation is the share of its processors that a server may need, with one server gone.
	Utilisation float64 `json:"utilisation"`
	// Headroom is the factor between the memory that is needed and that which a server should have.
	Headroom float64  `json:"headroom"`
	Options  []Option `json:"options"`
	// Best is the index of the option with the fewest processors in all, -1 when none fits.
	Best int `json:"best"`
	// Text answers in a sentence.
	Text string `json:"text"`
	// Warnings tell where the answer goes beyond what was measured, Assumptions what it takes for granted.
	Warnings    []string `json:"warnings"`
	Assumptions []string `json:"assumptions"`
}

// An Option is an ensemble of servers of one size.
type Option struct {
	Cores     int    `json:"cores"` // of each server
	Voters    int    `json:"voters"`
	Observers int    `json:"observers"`
	Fits      bool   `json:"fits"`
	Why       string `json:"why,omitempty"` // it does not fit
	// Processors needed by each kind of server with all servers up, and by the busiest with one server gone.
	LeaderCores   float64 `json:"leader_cores"`
	FollowerCores float64 `json:"follower_cores"`
	ObserverCores float64 `json:"observer_cores"`
	WorstCores    float64 `json:"worst_cores"`
	// MemoryBytes is what each server should have, 0 when it was not measured.
	MemoryBytes float64 `json:"memory_bytes"`
	// Bytes per second: out of the leader, its peers and its own clients together; in and out of the clients of one server; and
	// onto the disk of each server's log.
	LeaderOut  float64 `json:"leader_out"`
	ClientsIn  float64 `json:"clients_in"`
	ClientsOut float64 `json:"clients_out"`
	LogBytes   float64 `json:"log_bytes"`
	// FsyncRate is how many syncs of the log per second each voter makes.
	FsyncRate float64 `json:"fsync_rate"`
}

// Servers is the size of the ensemble.
func (o *Option) Servers() int { return o.Voters + o.Observers }

// Sizes of messages, in bytes, without the payload, for paths of 40 bytes. Source: client protocol, sections 1 to 3, and
// quorum protocol, section on proposals.
const (
	pathBytes        = 40
	getRequestBytes  = 4 + 8 + 4 + pathBytes + 1
	getReplyBytes    = 4 + 16 + 4 + 68
	setRequestBytes  = 4 + 8 + 4 + pathBytes + 4 + 4
	setReplyBytes    = 4 + 16 + 68
	proposalBytes    = 64 + pathBytes
	commitBytes      = 20
	logOverheadBytes = 64 + pathBytes
	maxObservers     = 30
)

// CoreSizes are the sizes of servers that an Answer looks at.
var CoreSizes = []int{2, 4, 8, 16, 32, 64}

// fsyncRate is how often a log that takes seconds for a sync syncs, with everything that waits in one: each write by itself
// when there are few, back to back when there are many.
func fsyncRate(writes, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return writes / (1 + writes*seconds)
}

// perSecond are the features of a server per second, when reads are spread over reading servers.
func (n Need) perSecond(mode string, servers, reading int, fsyncSeconds float64) features {
	kib := float64(n.Payload) / 1024
	share := 1 / float64(reading)
	f := features{
		termIdle: 1, termRead: n.Reads * share, termReadKiB: n.Reads * share * kib,
		termWrite: n.Writes, termWriteKiB: n.Writes * kib, termFsync: fsyncRate(n.Writes, fsyncSeconds),
	}
	// A reply of its own to each request; whatever waits for a sync of the log goes to a peer and is written in one.
	turns := f[termFsync]
	f[termFlush] = (n.Reads+n.Writes)*share + turns
	if mode == "leader" {
		f[termProposal], f[termProposalKiB] = float64(servers-1)*n.Writes, float64(servers-1)*n.Writes*kib
		f[termFlush] += 2 * turns * float64(servers-1) // proposals and commits
	} else {
		f[termForward] = n.Writes * share
		f[termFlush] += turns + min(n.Writes*share, turns) // acknowledgements, forwarded writes
	}
	return f
}

// option works out an ensemble.
func (m *Model) option(n Need, cores, voters, observers int, a *Answer) Option {
	o := Option{Cores: cores, Voters: voters, Observers: observers}
	costs := *m
	if !m.Ensembles {
		// Nothing of replication was measured: a proposal to a peer costs the leader as much as a write costs a server.
		costs.Costs[termProposal], costs.Costs[termProposalKiB] = m.Costs[termWrite], m.Costs[termWriteKiB]
		costs.Costs[termForward] = m.Costs[termWrite]
	}
	need := func(mode string, servers, reading int) float64 {
		return costs.micros(n.perSecond(mode, servers, reading, m.FsyncSeconds)) / 1e6
	}
	s := o.Servers()
	o.LeaderCores, o.FollowerCores = need("leader", s, s), need("follower", s, s)
	if observers > 0 {
		o.ObserverCores = need("observer", s, s)
	}
	o.WorstCores = max(need("leader", s, s-1), need("follower", s, s-1))
	kib := float64(n.Payload)
	share := 1 / float64(s)
	o.ClientsIn = share * (n.Reads*getRequestBytes + n.Writes*(setRequestBytes+kib))
	o.ClientsOut = share * (n.Reads*(getReplyBytes+kib) + n.Writes*setReplyBytes)
	o.LeaderOut = o.ClientsOut + n.Writes*float64(s-1)*(proposalBytes+commitBytes+kib)
	o.LogBytes = n.Writes * (logOverheadBytes + kib)
	o.FsyncRate = fsyncRate(n.Writes, m.FsyncSeconds)
	if mem := m.Memory; mem != nil {
		o.MemoryBytes = a.Headroom * (mem.Base + float64(n.Znodes)*(mem.Znode+kib*mem.DataByte) + share*float64(n.Sessions)*mem.Session)
	}
	o.Fits = o.WorstCores <= a.Utilisation*float64(cores)
	return o
}

// Answer finds ensembles that carry the need: per size of server and count of voters the fewest observers, if any are needed,
// such that no server needs more than the share utilisation of its processors while one is gone. headroom is the factor for memory.
func (m *Model) Answer(n Need, utilisation, headroom float64) *Answer {
	a := &Answer{Need: n, Utilisation: utilisation, Headroom: headroom, Best: -1}
	for _, cores := range CoreSizes {
		plenty := true
		for _, voters := range []int{3, 5} {
			var o Option
			for observers := 0; observers <= maxObservers; observers++ {
				if o = m.option(n, cores, voters, observers, a); o.Fits {
					break
				}
				// Observers take reads off the leader and give it a peer more to tell: stop when that makes it worse.
				if next := m.option(n, cores, voters, observers+1, a); next.WorstCores >= o.WorstCores {
					break
				}
			}
			if !o.Fits {
				o = m.option(n, cores, voters, 0, a)
				o.Why = fmt.Sprintf("a server would need %.1f of %d processors", o.WorstCores, cores)
			}
			a.Options = append(a.Options, o)
			plenty = plenty && o.Fits && o.Observers == 0 && o.WorstCores < a.Utilisation*float64(cores)/2
		}
		if plenty {
			break // larger servers would idle
		}
	}
	for i := range a.Options {
		o := &a.Options[i]
		if !o.Fits {
			continue
		}
		if a.Best < 0 || o.Cores*o.Servers() < a.Options[a.Best].Cores*a.Options[a.Best].Servers() {
			a.Best = i
		}
	}
	a.text()
	a.warn(m)
	return a
}

func (a *Answer) text() {
	n := a.Need
	want := fmt.Sprintf("%s reads/s and %s writes/s of %d bytes", Count(n.Reads), Count(n.Writes), n.Payload)
	if n.Znodes > 0 {
		want += fmt.Sprintf(" on %s znodes", Count(float64(n.Znodes)))
	}
	if a.Best < 0 {
		a.Text = fmt.Sprintf("No ensemble of servers with up to %d processors carries %s: shard the load.", CoreSizes[len(CoreSizes)-1], want)
		return
	}
	o := &a.Options[a.Best]
	servers := fmt.Sprintf("%d servers", o.Voters)
	if o.Observers > 0 {
		servers += fmt.Sprintf(" and %d observers", o.Observers)
	}
	memory := ""
	if o.MemoryBytes > 0 {
		memory = fmt.Sprintf(" and %s of memory", GiB(o.MemoryBytes))
	}
	a.Text = fmt.Sprintf("%s with %d processors%s each carry %s, with one of them gone.", servers, o.Cores, memory, want)
}

// GiB formats a size of memory, rounded up to what one can order.
func GiB(bytes float64) string {
	g := bytes / (1 << 30)
	if g < 1 {
		return fmt.Sprintf("%.0f MiB", math.Ceil(bytes/(1<<20)/64)*64)
	}
	return fmt.Sprintf("%.0f GiB", math.Ceil(g))
}

func (a *Answer) warn(m *Model) {
	n := a.Need
	warn := func(format string, args ...any) { a.Warnings = append(a.Warnings, fmt.Sprintf(format, args...)) }
	assume := func(format string, args ...any) { a.Assumptions = append(a.Assumptions, fmt.Sprintf(format, args...)) }
	if n.Writes > m.PeakWrites {
		warn("%s writes/s are more than the most that was measured here (%s/s). All writes go through one leader, and parts of its work run on one processor: "+
			"more processors do not lift that. Measure on the machine that you mean to use.", Count(n.Writes), Count(m.PeakWrites))
	} else if n.Writes > 0.7*m.PeakWrites {
		warn("%s writes/s are %.0f %% of the most that was measured here (%s/s): little is left for bursts.", Count(n.Writes), 100*n.Writes/m.PeakWrites, Count(m.PeakWrites))
	}
	if !m.Ensembles && n.Writes > 0 {
		warn("No ensemble was measured with its processor time. A proposal to a peer is assumed to cost the leader as much as a write costs a server by itself; the sweep over ensemble sizes measures it.")
	}
	if m.Memory == nil {
		warn("Memory was not measured.")
	}
	if m.MedianError > 0.25 {
		warn("The model missed series that it had not seen by %.0f %% (median): take the counts as rough.", 100*m.MedianError)
	}
	assume("Processors are as fast as those of this machine; a server needs at most %.0f %% of its own with one server gone, because latencies grow beyond that.", 100*a.Utilisation)
	assume("Clients spread evenly over all servers; reads are getData and writes setData with paths of %d bytes.", pathBytes)
	assume("Each reply goes out by itself: clients wait for one before they send the next request. Clients that pipeline cost less.")
	assume("Every server applies every write; the leader sends each to every peer. A write's cost for the leader grows with the count of peers.")
	if m.FsyncSeconds > 0 {
		assume("A sync of the log takes %.2g ms, the median of what was measured here, and all writes that wait share one.", m.FsyncSeconds*1e3)
	}
	if m.Memory != nil {
		assume("Memory is what was measured per znode, byte and session, times %.1f for copies while snapshots are written and for growth.", a.Headroom)
	}
	assume("Network bytes are computed from the protocol: replies to clients, and on the leader each proposal to each peer. Watches that fire come on top.")
}
