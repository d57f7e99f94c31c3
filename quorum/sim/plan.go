package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"zabra.dev/zabra/quorum"
	"zabra.dev/zabra/quorum/zab"
)

// plan is what the seed decides before the run: the ensemble, its settings, and the schedule of
// faults.
type plan struct {
	config    *quorum.Config // the first
	servers   int            // with those that are no members yet
	reconfig  bool           // the member list changes
	clients   int
	timing    zab.Timing
	features  []quorum.Features // by server id - 1
	earlyAcks bool              // learners acknowledge proposals in front of NEWLEADER, as some of Java's do
	forceSnap bool
	oldImages bool // learners get the newest image on disk, not the tree as it is

	delayMin, delayMax time.Duration // of packets
	syncMin, syncMax   time.Duration // of a sync of the log
	sectorBytes        int
	imageEvery         int // transactions between images
	windowAtBoot       int // transactions that a start takes into the window
	logFactor          int // History gives no log on disk when below 0
	drift              []float64
	counterMax         uint32 // of an epoch
	oldEpoch           bool   // the ensemble has a history up to the last zxid of an epoch

	end     time.Duration // faults stop
	victims []quorum.ServerID
	faults  []Fault
}

func (p *plan) String() string {
	voters, observers := 0, 0
	for i := range p.config.Members {
		if p.config.Members[i].Role == quorum.Participant {
			voters++
		} else {
			observers++
		}
	}
	rule := "majority"
	if p.config.Hierarchical {
		rule = "groups"
	}
	more := ""
	if p.reconfig {
		more = fmt.Sprintf(", %d more, member list changes", p.servers-len(p.config.Members))
	}
	if p.counterMax != quorum.MaxCounter {
		more += fmt.Sprintf(", %d transactions in an epoch", p.counterMax)
	}
	if p.oldEpoch {
		more += ", history to the end of an epoch"
	}
	return fmt.Sprintf("%d voters (%s), %d observers%s, %d clients, initLimit %d, syncLimit %d, delay %v-%v, sync %v-%v, sectors of %d, image every %d, faults until %v",
		voters, rule, observers, more, p.clients, p.timing.InitLimit, p.timing.SyncLimit, p.delayMin, p.delayMax, p.syncMin, p.syncMax, p.sectorBytes, p.imageEvery, p.end)
}

const (
	us = time.Microsecond
	ms = time.Millisecond
)

func newPlan(seed int64, mood FaultKind) *plan {
	rng := rngFor(seed, rngPlan)
	pick := func(weights ...int) int {
		sum := 0
		for _, n := range weights {
			sum += n
		}
		x := rng.IntN(sum)
		for i, n := range weights {
			if x < n {
				return i
			}
			x -= n
		}
		panic("unreachable")
	}
	p := &plan{
		timing:       zab.Timing{Tick: 100 * ms, InitLimit: 4 + rng.IntN(5), SyncLimit: 2 + rng.IntN(3)},
		clients:      2 + rng.IntN(4),
		delayMin:     50 * us,
		delayMax:     []time.Duration{200 * us, ms, 5 * ms}[pick(3, 5, 2)],
		syncMin:      50 * us,
		syncMax:      []time.Duration{200 * us, 2 * ms, 20 * ms}[pick(3, 5, 2)],
		sectorBytes:  []int{512, 4096, 64}[pick(6, 3, 1)],
		imageEvery:   5 + rng.IntN(60),
		windowAtBoot: []int{0, 3, 20, 1000}[rng.IntN(4)],
		logFactor:    []int{0, -1}[pick(5, 1)],
		forceSnap:    rng.IntN(12) == 0,
		earlyAcks:    rng.IntN(4) == 0,
		oldImages:    rng.IntN(2) == 0,
		end:          time.Duration(1500+rng.IntN(2000)) * ms,
	}
	voters, observers := []int{3, 5, 4, 2, 1}[pick(14, 4, 1, 1, 1)], pick(7, 3, 1)
	p.config = newConfig(rng, voters, observers)
	n := voters + observers
	if p.reconfig = rng.IntN(5) < 2 || mood == FaultReconfig; p.reconfig {
		n += pick(2, 4, 3, 1)
	}
	p.servers = n
	if p.counterMax = quorum.MaxCounter; rng.IntN(8) == 0 {
		p.counterMax = uint32(10 + rng.IntN(60))
	}
	p.oldEpoch = rng.IntN(12) == 0
	mixed, wild := pick(7, 2, 1), pick(2, 1) == 1
	for range n {
		f := quorum.AllFeatures
		if mixed == 1 || mixed == 2 && rng.IntN(2) == 0 {
			f = 0
		}
		p.features = append(p.features, f)
		drift := 0.95 + 0.1*rng.Float64()
		if wild {
			drift = []float64{0.7, 1, 1.4}[rng.IntN(3)]
		}
		p.drift = append(p.drift, drift)
	}
	for _, i := range rng.Perm(n) {
		p.victims = append(p.victims, quorum.ServerID(i+1))
		if !p.bearable(p.config) {
			p.victims = p.victims[:len(p.victims)-1]
		}
	}
	p.schedule(rngFor(seed, rngFaults), mood, voters, n)
	return p
}

func newConfig(rng *rand.Rand, voters, observers int) *quorum.Config {
	var members []quorum.Member
	for i := 1; i <= voters+observers; i++ {
		role := quorum.Participant
		if i > voters {
			role = quorum.Observer
		}
		members = append(members, member(int64(i), role))
	}
	var groups []quorum.Group
	if voters == 5 && rng.IntN(4) == 0 {
		groups = []quorum.Group{{ID: 1, Members: []int64{1, 2, 3}}, {ID: 2, Members: []int64{4}}, {ID: 3, Members: []int64{5}}}
	}
	config, err := quorum.NewConfig(0, members, groups, nil)
	if err != nil {
		panic(err)
	}
	return config
}

// FaultKind names a kind of fault.
type FaultKind uint8

// The faults. Where Server is 0 the leader of the newest epoch is meant, or server 1 if there is
// none.
const (
	FaultKill       FaultKind = iota + 1 // the process dies; the machine and its page cache live
	FaultPower                           // the machine loses power: what was not synced is lost at random
	FaultPause                           // the process stands still
	FaultIsolate                         // nothing passes between Server and the others
	FaultDeaf                            // nothing reaches Server
	FaultMute                            // nothing leaves Server
	FaultCut                             // nothing passes from Server to Peer
	FaultSplit                           // nothing passes between the servers in Set and the others
	FaultBreak                           // connections of Server's quorum port break, at one or both ends
	FaultClients                         // clients of Server lose their connections
	FaultSlowDisk                        // syncs of Server take long
	FaultFailSync                        // the next sync of Server fails
	FaultFullDisk                        // the disk of Server is full
	FaultRot                             // a bit flips on the disk of Server, one of the victims
	FaultSpike                           // all packets take long
	FaultClientDies                      // a client goes away for good
	FaultStorm                           // all servers lose power
	FaultReconfig                        // an operator changes the member list
	FaultLoseDisk                        // the disk of Server, one of the victims, is lost, and replaced by an empty one
)

var faultNames = [...]string{"", "kill", "power", "pause", "isolate", "deaf", "mute", "cut", "split", "break",
	"clients", "slow-disk", "fail-sync", "full-disk", "rot", "spike", "client-dies", "storm", "reconfig", "lose-disk"}

func (k FaultKind) String() string { return faultNames[k] }

// A Fault is one entry of a schedule.
type Fault struct {
	At     time.Duration
	Kind   FaultKind
	Server quorum.ServerID
	Peer   quorum.ServerID   // FaultCut
	Set    []quorum.ServerID // FaultSplit
	For    time.Duration     // how long it lasts; of a crash, until the server starts again
	Mid    int               // crashes: after how many operations of its disk, in the middle of a write; 0: at once
	Keep   int               // FaultPower: percentage of what was not synced that survives
	Rand   uint64            // for what else has to be chosen
}

func (f *Fault) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%v %v", f.At, f.Kind)
	switch f.Kind {
	case FaultSplit:
		fmt.Fprintf(&s, " %v", f.Set)
	case FaultCut:
		fmt.Fprintf(&s, " %d to %d", f.Server, f.Peer)
	case FaultSpike, FaultStorm, FaultReconfig:
	case FaultClientDies:
		fmt.Fprintf(&s, " %d", f.Rand)
	default:
		if f.Server == 0 {
			s.WriteString(" the leader")
		} else {
			fmt.Fprintf(&s, " %d", f.Server)
		}
	}
	if f.For != 0 {
		fmt.Fprintf(&s, " for %v", f.For)
	}
	if f.Mid != 0 {
		fmt.Fprintf(&s, ", at disk operation %d", f.Mid)
	}
	if f.Kind == FaultPower || f.Kind == FaultStorm {
		fmt.Fprintf(&s, ", keeping %d%%", f.Keep)
	}
	return s.String()
}

// schedule makes the faults. Each seed has a mood: some are calm, some have one kind of fault
// much more often than others, for it is the unlikely combinations of a few that matter.
func (p *plan) schedule(rng *rand.Rand, mood FaultKind, voters, n int) {
	weights := []int{0, 6, 6, 3, 3, 2, 2, 2, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 0, 1}
	if p.reconfig {
		weights[FaultReconfig] = 20
	}
	if rng.IntN(2) == 0 {
		weights[1+rng.IntN(int(FaultStorm))] += 20
	}
	count := rng.IntN(14)
	if p.reconfig {
		count += 2 + rng.IntN(5)
	}
	if mood != 0 {
		weights[mood] += 40
		count += 6
	}
	sum := 0
	for _, x := range weights {
		sum += x
	}
	for range count {
		x, kind := rng.IntN(sum), FaultKind(0)
		for x >= weights[kind] {
			x -= weights[kind]
			kind++
		}
		f := Fault{
			At:     300*ms + time.Duration(rng.Int64N(int64(p.end-300*ms))),
			Kind:   kind,
			Server: quorum.ServerID(1 + rng.IntN(n)),
			For:    []time.Duration{10 * ms, 100 * ms, 400 * ms, 1000 * ms}[rng.IntN(4)],
			Rand:   rng.Uint64(),
		}
		f.For += time.Duration(rng.Int64N(int64(f.For)))
		if rng.IntN(2) == 0 {
			f.Server = 0
		}
		switch kind {
		case FaultKill, FaultPower, FaultStorm:
			if rng.IntN(2) == 0 {
				f.Mid = 1 + rng.IntN(6)
			}
			f.Keep = []int{0, 50, 90, 100}[rng.IntN(4)]
		case FaultCut:
			if f.Server == 0 {
				f.Server = 1
			}
			f.Peer = quorum.ServerID(1 + rng.IntN(n))
			if f.Peer == f.Server {
				f.Peer = 1 + f.Peer%quorum.ServerID(n)
			}
		case FaultSplit:
			for id := 1; id <= n; id++ {
				if rng.IntN(2) == 0 {
					f.Set = append(f.Set, quorum.ServerID(id))
				}
			}
		case FaultRot, FaultLoseDisk:
			if len(p.victims) == 0 {
				continue
			}
			f.Server, f.For = p.victims[rng.IntN(len(p.victims))], 0
		case FaultBreak, FaultClients, FaultFailSync, FaultReconfig:
			f.For = 0
		case FaultClientDies:
			f.Rand, f.For = uint64(rng.IntN(p.clients)), 0
		}
		p.faults = append(p.faults, f)
	}
	slices.SortStableFunc(p.faults, func(a, b Fault) int { return int(a.At - b.At) })
}

// given is what the operator of a server has written into its configuration: the first member list, and in that of
// a server that is no member yet also itself, as an observer.
func (p *plan) given(id quorum.ServerID) *quorum.Config {
	if p.config.Member(id) != nil {
		return p.config
	}
	list := append(slices.Clone(p.config.Members), member(id, quorum.Observer))
	c, err := quorum.NewConfig(0, list, slices.Clone(p.config.Groups), nil)
	if err != nil {
		panic(err)
	}
	return c
}
