package admin

import (
	"net/url"
	"runtime"
	"strconv"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/fourlw"

	"sort"
)

// A command is one row of the table in operations, section 4.2.
type command struct {
	name       string
	aliases    []string
	post       bool // takes POST, all others GET and HEAD
	always     bool // answers without a quorum, too
	authorized bool // needs all permissions on the root
	run        func(*request)
}

func commandTable() []*command {
	return []*command{
		{name: "configuration", aliases: []string{"conf", "config"}, run: configuration},
		{name: "connection_stat_reset", aliases: []string{"crst"}, run: func(q *request) { q.a.srv.ResetConnStats() }},
		{name: "connections", aliases: []string{"cons"}, run: func(q *request) { q.connections(false) }},
		{name: "dirs", run: dirs},
		{name: "dump", run: dump},
		{name: "environment", aliases: []string{"env", "envi"}, always: true, run: func(q *request) { q.texts(q.a.srv.Environment()) }},
		{name: "get_trace_mask", aliases: []string{"gtmk"}, always: true, run: func(q *request) { q.put("tracemask", q.a.srv.TraceMask()) }},
		{name: "hash", run: hash},
		{name: "initial_configuration", aliases: []string{"icfg"}, run: initialConfiguration},
		{name: "is_read_only", aliases: []string{"isro"}, run: func(q *request) { q.put("read_only", readOnly(q.a.srv.Stats())) }},
		{name: "last_snapshot", aliases: []string{"lsnp"}, run: lastSnapshot},
		{name: "leader", aliases: []string{"lead"}, run: leader},
		{name: "observer_connection_stat_reset", aliases: []string{"orst"}, run: func(q *request) { q.a.srv.ResetLearnerStats() }},
		{name: "observers", aliases: []string{"obsr"}, run: observers},
		{name: "voting_view", run: votingView},
		{name: "zabstate", always: true, run: zabstate},
		{name: "monitor", aliases: []string{"mntr"}, run: func(q *request) { q.numbers(q.a.srv.MonitorPairs()) }},
		{name: "restore", aliases: []string{"rest"}, post: true, authorized: true, run: restore},
		{name: "ruok", run: func(*request) {}},
		{name: "server_stats", aliases: []string{"srvr"}, run: serverStats},
		{name: "set_trace_mask", aliases: []string{"stmk"}, always: true, run: setTraceMask},
		{name: "shed_connections", aliases: []string{"shed"}, post: true, authorized: true, run: shedConnections},
		{name: "snapshot", aliases: []string{"snap"}, authorized: true, run: snapshot},
		{name: "stat_reset", aliases: []string{"srst"}, run: func(q *request) { q.a.srv.ResetStats() }},
		{name: "stats", aliases: []string{"stat"}, run: stats},
		{name: "system_properties", aliases: []string{"sysp"}, always: true, run: func(q *request) { q.texts(q.a.opts.Properties) }},
		{name: "watch_summary", aliases: []string{"wchs"}, run: watchSummary},
		{name: "watches", aliases: []string{"wchc"}, run: watches},
		{name: "watches_by_path", aliases: []string{"wchp"}, run: watchesByPath},
	}
}

// texts puts each pair as a string.
func (q *request) texts(pairs []fourlw.Pair) {
	for _, p := range pairs {
		q.put(p.Key, p.Value)
	}
}

// numbers puts each pair as a number if it is one.
func (q *request) numbers(pairs []fourlw.Pair) {
	for _, p := range pairs {
		q.put(p.Key, number(p.Value))
	}
}

func number(text string) any {
	if _, err := strconv.ParseFloat(text, 64); err != nil || text[0] > '9' {
		return text // also NaN and Inf, which JSON has no numbers for
	}
	return literal(text)
}

// confNames are the lines of the word conf under the names that they have here.
var confNames = map[string]string{
	"clientPort": "client_port", "dataDir": "data_dir", "dataLogDir": "data_log_dir", "tickTime": "tick_time",
	"maxClientCnxns": "max_client_cnxns", "minSessionTimeout": "min_session_timeout", "maxSessionTimeout": "max_session_timeout",
	"serverId": "server_id", "clientPortListenBacklog": "client_port_listen_backlog",
}

// confOrder puts the backlog behind the id, as here but not in the word.
var confOrder = []string{"clientPort", "dataDir", "dataLogDir", "tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout", "serverId", "clientPortListenBacklog"}

func configuration(q *request) {
	values := map[string]string{}
	for _, p := range q.a.srv.ConfPairs() {
		values[p.Key] = p.Value
	}
	for _, key := range confOrder {
		if key == "dataDir" || key == "dataLogDir" {
			q.put(confNames[key], values[key])
		} else {
			q.put(confNames[key], literal(values[key]))
		}
	}
}

// connections puts the plain and the TLS connections, briefly for stats.
func (q *request) connections(brief bool) {
	plain, secure := []object{}, []object{}
	for _, c := range q.a.srv.Conns() {
		o := connection(&c, brief)
		if c.Secure {
			secure = append(secure, o)
		} else {
			plain = append(plain, o)
		}
	}
	q.put("connections", plain)
	q.put("secure_connections", secure)
}

func connection(c *fourlw.Conn, brief bool) object {
	o := object{
		{"remote_socket_address", c.Addr.String()}, {"interest_ops", c.InterestOps}, {"outstanding_requests", c.Queued},
		{"packets_received", c.Received}, {"packets_sent", c.Sent},
	}
	if brief {
		return o
	}
	// -1 stands for none, as in a Java server.
	lastCxid, lastZxid := int64(-1), int64(-1)
	if c.HasCxid {
		lastCxid = int64(c.LastCxid)
	}
	if c.LastOp != "NA" {
		lastZxid = c.LastZxid
	}
	return append(o, object{
		{"session_id", int64(c.Session)}, {"last_operation", c.LastOp}, {"established", c.EstablishedMs}, {"session_timeout", int64(c.TimeoutMs)},
		{"last_cxid", lastCxid}, {"last_zxid", lastZxid}, {"last_response_time", c.LastResponseMs},
		{"last_latency", c.LastLatency}, {"min_latency", c.MinLatency}, {"avg_latency", c.AvgLatency}, {"max_latency", c.MaxLatency},
	}...)
}

func dirs(q *request) {
	data, log := q.a.srv.DirBytes()
	q.put("datadir_size", data)
	q.put("logdir_size", log)
}

func dump(q *request) {
	expiry := object{}
	for _, b := range q.a.srv.ExpiryBuckets() {
		expiry.put(strconv.FormatInt(b.ExpiresMs, 10), b.Sessions)
	}
	q.put("expiry_time_to_session_ids", expiry)
	q.put("session_id_to_ephemeral_paths", sessionPaths(q.a.srv.Ephemerals()))
}

func sessionPaths(list []server.SessionPaths) object {
	o := object{}
	for _, p := range list {
		o.put(strconv.FormatInt(p.Session, 10), p.Paths)
	}
	return o
}

func hash(q *request) {
	list := []object{}
	for _, d := range q.a.srv.Digests() {
		list = append(list, object{{"zxid", d.Zxid}, {"digest", int64(d.Digest)}, {"digest_version", int64(proto.DigestVersion)}})
	}
	q.put("digests", list)
}

func initialConfiguration(q *request) {
	if q.a.opts.HasInitialConfig {
		q.put("initial_configuration", q.a.opts.InitialConfig)
	} else {
		q.put("initial_configuration", nil)
	}
}

func readOnly(st server.Stats) bool { return st.Mode == "read-only" }

func lastSnapshot(q *request) {
	zxid, takenAtMs, ok := q.a.srv.LastSnapshot()
	if !ok {
		zxid, takenAtMs = -1, -1000
	}
	q.put("zxid", strconv.FormatUint(uint64(zxid), 16))
	q.put("timestamp", takenAtMs/1000)
}

func serverStats(q *request) {
	st := q.a.srv.Stats()
	sizes := object{{"last_buffer_size", st.LastResponseBytes}, {"min_buffer_size", st.MinResponseBytes}, {"max_buffer_size", st.MaxResponseBytes}}
	data, log := q.a.srv.DirBytes()
	q.put("version", st.Version)
	q.put("read_only", readOnly(st))
	q.put("server_stats", object{
		{"packets_sent", st.Sent}, {"packets_received", st.Received}, {"fsync_threshold_exceed_count", st.FsyncsSlow},
		{"client_response_stats", sizes}, {"provider_null", st.ProviderNull}, {"server_state", st.Mode},
		{"outstanding_requests", st.Outstanding}, {"min_latency", st.MinLatencyMs},
		{"avg_latency", literal(fourlw.FormatAvg(st.AvgLatencyMs))}, {"max_latency", st.MaxLatencyMs},
		{"data_dir_size", data}, {"log_dir_size", log}, {"last_processed_zxid", st.Zxid},
		{"num_alive_client_connections", st.Connections}, {"uptime", st.UptimeMs}, {"auth_failed_count", st.AuthFailed},
		{"non_mtlsremote_conn_count", st.NonMTLSRemote}, {"non_mtlslocal_conn_count", st.NonMTLSLocal},
	})
	q.put("client_response", sizes)
	if st.IsLeader {
		q.put("proposal_stats", object{{"last_buffer_size", st.ProposalLast}, {"min_buffer_size", st.ProposalMin}, {"max_buffer_size", st.ProposalMax}})
	}
	q.put("node_count", st.NodeCount)
}

func stats(q *request) {
	serverStats(q)
	q.connections(true)
}

func setTraceMask(q *request) {
	const complaint = "setTraceMask requires long traceMask argument"
	text, ok := argument(q.http.URL.Query(), "traceMask")
	if !ok {
		q.failed = complaint
		return
	}
	mask, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		q.failed = complaint + ", got " + text
		return
	}
	q.a.srv.SetTraceMask(mask)
	q.put("tracemask", mask)
}

// argument gives the first value of a query parameter.
func argument(query url.Values, name string) (value string, ok bool) {
	values := query[name]
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

func watchSummary(q *request) {
	conns, paths, watches := q.a.srv.WatchCounts()
	q.put("num_connections", conns)
	q.put("num_paths", paths)
	q.put("num_total_watches", watches)
}

func watches(q *request) {
	q.put("session_id_to_watched_paths", sessionPaths(q.a.srv.WatchesBySession()))
}

func watchesByPath(q *request) {
	o := object{}
	for _, p := range q.a.srv.WatchesByPath() {
		o.put(p.Path, p.Sessions)
	}
	q.put("path_to_session_ids", o)
}

// properties gives what stands for Java's system properties: the settings that have one, under its name, and
// those of the runtime that scripts look at. Secrets are not told.
func properties(c *config.Config) []fourlw.Pair {
	pairs := []fourlw.Pair{
		{Key: "file.separator", Value: "/"}, {Key: "java.version", Value: runtime.Version()}, {Key: "java.vendor", Value: "Zabra"},
		{Key: "os.arch", Value: runtime.GOARCH}, {Key: "os.name", Value: runtime.GOOS},
	}
	for _, s := range c.Settings() {
		k := config.FindKey(s.Key)
		if k == nil || k.Property == "" {
			continue
		}
		value := s.Value
		if s.Secret() {
			value = "******"
		}
		name := s.Key
		if k.Property != k.Name {
			name = "zookeeper." + s.Key
		}
		pairs = append(pairs, fourlw.Pair{Key: name, Value: value})
	}
	sort.Slice(pairs, func(i, j int) bool { return pairs[i].Key < pairs[j].Key })
	return pairs
}
