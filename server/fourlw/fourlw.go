// Package fourlw writes the answers to ZooKeeper's four-letter words, line by line as Java
// does, since monitoring tools take them apart by position and by regular expression.
//
// It formats what a server hands it and knows neither connections nor trees: every function
// appends to a caller's slice and may run on any goroutine.
// Source: operations, section 3.
package fourlw

import (
	"net/netip"
	"sort"
	"strconv"
	"time"

	"zabra.dev/zabra/engine/proto"
)

// Words are the known words in Java's order; all others are taken for the length of a frame.
// TelnetClose is what an interrupted telnet sends.
var Words = []string{
	"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr", "stat", "stmk",
	"wchc", "wchp", "wchs", TelnetClose,
}

// TelnetClose is answered by closing the connection.
const TelnetClose = "\xff\xf4\xff\xfd"

// MaskBytes is the size of the argument of stmk.
const MaskBytes = 8

// Texts that are whole answers.
const (
	NotServing  = "This ZooKeeper instance is not currently serving requests\n"
	ServerReset = "Server stats reset.\n"
	ConnReset   = "Connection stats reset.\n"
	ImOK        = "imok"
	ReadWrite   = "rw"
	ReadOnly    = "ro"
	NullRole    = "null"
)

// NotWhitelisted is the answer to a word that the configuration does not admit.
func NotWhitelisted(word string) string {
	return word + " is not executed because it is not in the whitelist.\n"
}

// A Server is what srvr and stat tell.
type Server struct {
	Version                    string // V-COMMIT, built on DATE
	MinLatencyMs, MaxLatencyMs int64
	AvgLatencyMs               float64
	Received, Sent             int64 // packets
	Connections, Outstanding   int64
	Zxid                       proto.Zxid
	Mode                       string // leader, follower, observer, standalone or read-only
	NodeCount                  int64  // the root counts twice
	// Proposal sizes in bytes, -1 before the first; leaders only.
	IsLeader                               bool
	ProposalLast, ProposalMin, ProposalMax int64
}

// A Conn is what stat and cons tell of a connection.
type Conn struct {
	Addr           netip.AddrPort
	Secure         bool // over TLS
	InterestOps    int  // selector bits of Java's NIO: 1 reading, 0 not
	Queued         int64
	Received, Sent int64 // packets
	Session        proto.SessionID
	LastOp         string // Java's abbreviation, see OpAbbreviation
	EstablishedMs  int64  // wall clock
	TimeoutMs      int32
	LastCxid       int32
	HasCxid        bool
	LastZxid       proto.Zxid
	LastResponseMs int64 // monotonic clock
	// Latencies in milliseconds.
	LastLatency, MinLatency, AvgLatency, MaxLatency int64
}

// A Bucket is a set of sessions or connections that expire together.
type Bucket struct {
	ExpiresAt time.Time
	Entries   []string
}

// A Group is a heading with the lines below it.
type Group struct {
	Head  string
	Lines []string
}

var abbreviations = map[proto.OpCode]string{
	proto.OpNotification: "NOTI", proto.OpCreate: "CREA", proto.OpCreate2: "CREA", proto.OpCreateTTL: "CREA",
	proto.OpCreateContainer: "CREA", proto.OpDelete: "DELE", proto.OpDeleteContainer: "DELE", proto.OpExists: "EXIS",
	proto.OpGetData: "GETD", proto.OpSetData: "SETD", proto.OpGetACL: "GETA", proto.OpSetACL: "SETA",
	proto.OpGetChildren: "GETC", proto.OpGetChildren2: "GETC", proto.OpGetAllChildrenNum: "GETACN",
	proto.OpGetEphemerals: "GETE", proto.OpPing: "PING", proto.OpCheck: "CHEC", proto.OpCheckWatches: "CHKW",
	proto.OpRemoveWatches: "REMW", proto.OpSetWatches: "SETW", proto.OpSetWatches2: "STW2", proto.OpAddWatch: "ADDW",
	proto.OpSync: "SYNC", proto.OpMulti: "MULT", proto.OpMultiRead: "MLTR", proto.OpReconfig: "RECO",
	proto.OpWhoAmI: "HOMI", proto.OpCreateSession: "SESS", proto.OpCloseSession: "CLOS",
}

// OpAbbreviation is the name of op in the field lop; NA for operations without one.
func OpAbbreviation(op proto.OpCode) string {
	if s, ok := abbreviations[op]; ok {
		return s
	}
	return "NA"
}

// AppendSrvr appends the answer to srvr.
func AppendSrvr(dst []byte, s *Server) []byte {
	dst = appendVersion(dst, s)
	return appendServerLines(dst, s)
}

// AppendStat appends the answer to stat.
func AppendStat(dst []byte, s *Server, conns []Conn) []byte {
	dst = appendVersion(dst, s)
	dst = append(dst, "Clients:\n"...)
	for i := range conns {
		dst = appendConn(dst, &conns[i], false)
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	return appendServerLines(dst, s)
}

// AppendCons appends the answer to cons.
func AppendCons(dst []byte, conns []Conn) []byte {
	for i := range conns {
		dst = appendConn(dst, &conns[i], true)
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

func appendVersion(dst []byte, s *Server) []byte {
	dst = append(dst, "Zookeeper version: "...)
	dst = append(dst, s.Version...)
	dst = append(dst, '\n')
	if s.Mode == "read-only" {
		dst = append(dst, "READ-ONLY mode; serving only read-only clients\n"...)
	}
	return dst
}

func appendServerLines(dst []byte, s *Server) []byte {
	dst = append(dst, "Latency min/avg/max: "...)
	dst = strconv.AppendInt(dst, s.MinLatencyMs, 10)
	dst = append(dst, '/')
	dst = append(dst, FormatAvg(s.AvgLatencyMs)...)
	dst = append(dst, '/')
	dst = strconv.AppendInt(dst, s.MaxLatencyMs, 10)
	dst = appendLine(dst, "\nReceived: ", s.Received)
	dst = appendLine(dst, "Sent: ", s.Sent)
	dst = appendLine(dst, "Connections: ", s.Connections)
	dst = appendLine(dst, "Outstanding: ", s.Outstanding)
	dst = append(dst, "Zxid: "...)
	dst = appendHex(dst, s.Zxid)
	dst = append(dst, "\nMode: "...)
	dst = append(dst, s.Mode...)
	dst = appendLine(dst, "\nNode count: ", s.NodeCount)
	if s.IsLeader {
		dst = append(dst, "Proposal sizes last/min/max: "...)
		dst = strconv.AppendInt(dst, s.ProposalLast, 10)
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, s.ProposalMin, 10)
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, s.ProposalMax, 10)
		dst = append(dst, '\n')
	}
	return dst
}

func appendLine(dst []byte, key string, v int64) []byte {
	dst = append(dst, key...)
	dst = strconv.AppendInt(dst, v, 10)
	return append(dst, '\n')
}

// appendHex appends v as Java's Long.toHexString does, with 0x in front.
func appendHex(dst []byte, v int64) []byte {
	return strconv.AppendUint(append(dst, "0x"...), uint64(v), 16)
}

// FormatAvg writes an average as Java does: up to four decimals, at least one.
func FormatAvg(v float64) string {
	s := strconv.FormatFloat(v, 'f', 4, 64)
	for s[len(s)-1] == '0' && s[len(s)-2] != '.' {
		s = s[:len(s)-1]
	}
	return s
}

func appendConn(dst []byte, c *Conn, long bool) []byte {
	dst = append(dst, " /"...)
	dst = append(dst, c.Addr.String()...)
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, int64(c.InterestOps), 10)
	dst = append(dst, "](queued="...)
	dst = strconv.AppendInt(dst, c.Queued, 10)
	field := func(name string, v int64) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, v, 10)
	}
	field(",recved=", c.Received)
	field(",sent=", c.Sent)
	if long && c.Session != 0 {
		dst = append(dst, ",sid="...)
		dst = appendHex(dst, c.Session)
		dst = append(dst, ",lop="...)
		dst = append(dst, c.LastOp...)
		field(",est=", c.EstablishedMs)
		field(",to=", int64(c.TimeoutMs))
		if c.HasCxid {
			dst = append(dst, ",lcxid="...)
			dst = strconv.AppendUint(append(dst, "0x"...), uint64(uint32(c.LastCxid)), 16)
		}
		dst = append(dst, ",lzxid="...)
		dst = appendHex(dst, c.LastZxid)
		field(",lresp=", c.LastResponseMs)
		field(",llat=", c.LastLatency)
		field(",minlat=", c.MinLatency)
		field(",avglat=", c.AvgLatency)
		field(",maxlat=", c.MaxLatency)
	}
	return append(dst, ')')
}

// AppendWchs appends the answer to wchs.
func AppendWchs(dst []byte, conns, paths, watches int64) []byte {
	dst = strconv.AppendInt(dst, conns, 10)
	dst = append(dst, " connections watching "...)
	dst = strconv.AppendInt(dst, paths, 10)
	dst = append(dst, " paths\nTotal watches:"...)
	dst = strconv.AppendInt(dst, watches, 10)
	return append(dst, '\n')
}

// AppendGroups appends the answer to wchc and wchp: headings, their lines behind a TAB, and an
// empty line.
func AppendGroups(dst []byte, groups []Group) []byte {
	for _, g := range groups {
		dst = append(dst, g.Head...)
		dst = append(dst, '\n')
		for _, line := range g.Lines {
			dst = append(dst, '\t')
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
	}
	return append(dst, '\n')
}

// A Dump is what the word dump tells.
type Dump struct {
	// Local are the sessions of the server's own, told where HasLocal says that it may have some.
	HasLocal bool
	Local    []Bucket
	// Sessions are those that the server expires; a learner has a table of Global ones instead.
	Learner  bool
	Sessions []Bucket
	Global   []SessionTimeout
	// Ephemerals are headed by session.
	Ephemerals []Group
	Conns      []Bucket
}

// A SessionTimeout is a session with its timeout in milliseconds.
type SessionTimeout struct {
	ID        proto.SessionID
	TimeoutMs int32
}

// AppendDump appends the answer to dump. It sorts the lists of d.
func AppendDump(dst []byte, d *Dump) []byte {
	dst = append(dst, "SessionTracker dump:\n"...)
	if d.HasLocal {
		dst = appendBuckets(dst, "Local Session", d.Local)
	}
	switch {
	case d.Learner:
		dst = appendTimeouts(dst, d.Global)
	case d.HasLocal:
		dst = appendBuckets(dst, "Global Session", d.Sessions)
	default:
		dst = appendBuckets(dst, "Session", d.Sessions)
	}
	dst = append(dst, "ephemeral nodes dump:\nSessions with Ephemerals ("...)
	dst = strconv.AppendInt(dst, int64(len(d.Ephemerals)), 10)
	dst = append(dst, "):\n"...)
	for _, g := range d.Ephemerals {
		dst = append(dst, g.Head...)
		dst = append(dst, ":\n"...)
		for _, line := range g.Lines {
			dst = append(dst, '\t')
			dst = append(dst, line...)
			dst = append(dst, '\n')
		}
	}
	dst = append(dst, "Connections dump:\n"...)
	return appendBuckets(dst, "Connections", d.Conns)
}

func appendTimeouts(dst []byte, list []SessionTimeout) []byte {
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	dst = append(dst, "Global Sessions("...)
	dst = strconv.AppendInt(dst, int64(len(list)), 10)
	dst = append(dst, "):\n"...)
	for _, x := range list {
		dst = append(appendHex(dst, x.ID), '\t')
		dst = strconv.AppendInt(dst, int64(x.TimeoutMs), 10)
		dst = append(dst, "ms\n"...)
	}
	return dst
}

// javaDate is the layout of java.util.Date.toString.
const javaDate = "Mon Jan 02 15:04:05 MST 2006"

func appendBuckets(dst []byte, what string, buckets []Bucket) []byte {
	sort.Slice(buckets, func(i, j int) bool { return buckets[i].ExpiresAt.Before(buckets[j].ExpiresAt) })
	count := 0
	for _, b := range buckets {
		count += len(b.Entries)
	}
	dst = append(dst, what...)
	dst = append(dst, " Sets ("...)
	dst = strconv.AppendInt(dst, int64(len(buckets)), 10)
	dst = append(dst, ")/("...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	dst = append(dst, "):\n"...)
	for _, b := range buckets {
		dst = strconv.AppendInt(dst, int64(len(b.Entries)), 10)
		dst = append(dst, " expire at "...)
		dst = b.ExpiresAt.AppendFormat(dst, javaDate)
		dst = append(dst, ":\n"...)
		for _, e := range b.Entries {
			dst = append(dst, '\t')
			dst = append(dst, e...)
			dst = append(dst, '\n')
		}
	}
	return dst
}

// A Pair is one line of conf, envi or mntr.
type Pair struct{ Key, Value string }

// AppendConf appends the answer to conf.
func AppendConf(dst []byte, pairs []Pair) []byte { return appendPairs(dst, "", "=", pairs) }

// AppendEnvi appends the answer to envi.
func AppendEnvi(dst []byte, pairs []Pair) []byte {
	return appendPairs(append(dst, "Environment:\n"...), "", "=", pairs)
}

// AppendMntr appends the answer to mntr.
func AppendMntr(dst []byte, pairs []Pair) []byte { return appendPairs(dst, "zk_", "\t", pairs) }

func appendPairs(dst []byte, prefix, separator string, pairs []Pair) []byte {
	for _, p := range pairs {
		dst = append(dst, prefix...)
		dst = append(dst, p.Key...)
		dst = append(dst, separator...)
		dst = append(dst, p.Value...)
		dst = append(dst, '\n')
	}
	return dst
}

// AppendDirs appends the answer to dirs.
func AppendDirs(dst []byte, dataBytes, logBytes int64) []byte {
	return appendLine(appendLine(dst, "datadir_size: ", dataBytes), "logdir_size: ", logBytes)
}

// A Digest is the digest of the tree after a transaction.
type Digest struct {
	Zxid   proto.Zxid
	Digest uint64
}

// AppendHash appends the answer to hash.
func AppendHash(dst []byte, digests []Digest) []byte {
	for _, d := range digests {
		dst = strconv.AppendUint(dst, uint64(d.Zxid), 16)
		dst = append(dst, ": "...)
		dst = strconv.AppendInt(dst, int64(d.Digest), 10)
		dst = append(dst, '\n')
	}
	return dst
}
