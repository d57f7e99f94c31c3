package admin

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/fourlw"
)

// testOptions are the defaults of zoo.cfg.
func testOptions() Options {
	return Options{Host: "127.0.0.1", CommandURL: "/commands", SnapshotEnabled: true, RestoreEnabled: true, LastZxidKept: true}
}

func get(a *AdminServer, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.handle(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// An ordered JSON value, for taking recorded bodies apart.
type member struct {
	key   string
	value json.RawMessage
}

func members(t *testing.T, raw []byte) (list []member) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		t.Fatalf("%v %v in %s", tok, err, raw)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		list = append(list, member{key.(string), v})
	}
	return list
}

func decode[T any](t *testing.T, raw []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

func parseInt(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// text is a JSON value as a pair has it: strings without quotes.
func text(t *testing.T, raw json.RawMessage) string {
	if raw[0] == '"' {
		return decode[string](t, raw)
	}
	return string(raw)
}

// fill puts the values of a recorded body into the fake: what the body says is what the server says.
func (f *fakeServer) fill(t *testing.T, command string, body []byte) {
	byKey := map[string]json.RawMessage{}
	list := members(t, body)
	for _, m := range list {
		byKey[m.key] = m.value
	}
	num := func(key string) int64 { return decode[int64](t, byKey[key]) }
	pairs := func() (out []fourlw.Pair) {
		for _, m := range list[:len(list)-2] {
			out = append(out, fourlw.Pair{Key: m.key, Value: text(t, m.value)})
		}
		return out
	}
	switch command {
	case "configuration":
		for word, key := range confNames {
			f.conf = append(f.conf, fourlw.Pair{Key: word, Value: text(t, byKey[key])})
		}
	case "connections":
		f.fillConns(t, byKey["connections"])
	case "dirs":
		f.dataBytes = num("datadir_size")
	case "dump":
		for _, m := range members(t, byKey["expiry_time_to_session_ids"]) {
			f.expiry = append(f.expiry, server.ExpiryBucket{ExpiresMs: parseInt(t, m.key), Sessions: decode[[]int64](t, m.value)})
		}
		f.ephemerals = fillPaths(t, byKey["session_id_to_ephemeral_paths"])
	case "environment":
		f.env = pairs()
	case "get_trace_mask", "set_trace_mask":
		f.mask = num("tracemask")
	case "hash":
		for _, d := range decode[[]struct{ Zxid, Digest int64 }](t, byKey["digests"]) {
			f.digests = append(f.digests, fourlw.Digest{Zxid: d.Zxid, Digest: uint64(d.Digest)})
		}
	case "last_snapshot":
		zxid, err := strconv.ParseUint(text(t, byKey["zxid"]), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		f.snapZxid, f.snapAtMs = int64(zxid), num("timestamp")*1000
	case "monitor":
		f.monitor = pairs()
	case "server_stats", "stats":
		f.fillStats(t, byKey)
	case "watch_summary":
		f.watchCounts = [3]int64{num("num_connections"), num("num_paths"), num("num_total_watches")}
	case "watches":
		f.watches = fillPaths(t, byKey["session_id_to_watched_paths"])
	case "watches_by_path":
		for _, m := range members(t, byKey["path_to_session_ids"]) {
			f.watchesByPath = append(f.watchesByPath, server.PathSessions{Path: m.key, Sessions: decode[[]int64](t, m.value)})
		}
	}
}

func fillPaths(t *testing.T, raw json.RawMessage) (list []server.SessionPaths) {
	for _, m := range members(t, raw) {
		list = append(list, server.SessionPaths{Session: parseInt(t, m.key), Paths: decode[[]string](t, m.value)})
	}
	return list
}

func (f *fakeServer) fillConns(t *testing.T, raw json.RawMessage) {
	type recorded struct {
		Remote      string `json:"remote_socket_address"`
		Interest    int    `json:"interest_ops"`
		Outstanding int64  `json:"outstanding_requests"`
		Received    int64  `json:"packets_received"`
		Sent        int64  `json:"packets_sent"`
		Session     int64  `json:"session_id"`
		LastOp      string `json:"last_operation"`
		Established int64  `json:"established"`
		Timeout     int32  `json:"session_timeout"`
		LastCxid    int32  `json:"last_cxid"`
		LastZxid    int64  `json:"last_zxid"`
		LastReply   int64  `json:"last_response_time"`
		Last        int64  `json:"last_latency"`
		Min         int64  `json:"min_latency"`
		Avg         int64  `json:"avg_latency"`
		Max         int64  `json:"max_latency"`
	}
	for _, c := range decode[[]recorded](t, raw) {
		f.conns = append(f.conns, fourlw.Conn{
			Addr: netip.MustParseAddrPort(c.Remote), InterestOps: c.Interest, Queued: c.Outstanding, Received: c.Received, Sent: c.Sent,
			Session: c.Session, LastOp: c.LastOp, EstablishedMs: c.Established, TimeoutMs: c.Timeout, LastCxid: c.LastCxid, HasCxid: true,
			LastZxid: c.LastZxid, LastResponseMs: c.LastReply, LastLatency: c.Last, MinLatency: c.Min, AvgLatency: c.Avg, MaxLatency: c.Max,
		})
	}
}

func (f *fakeServer) fillStats(t *testing.T, byKey map[string]json.RawMessage) {
	type sizes struct {
		Last int64 `json:"last_buffer_size"`
		Min  int64 `json:"min_buffer_size"`
		Max  int64 `json:"max_buffer_size"`
	}
	st := decode[struct {
		Sent       int64   `json:"packets_sent"`
		Received   int64   `json:"packets_received"`
		Fsyncs     int64   `json:"fsync_threshold_exceed_count"`
		Sizes      sizes   `json:"client_response_stats"`
		Mode       string  `json:"server_state"`
		Waiting    int64   `json:"outstanding_requests"`
		Min        int64   `json:"min_latency"`
		Avg        float64 `json:"avg_latency"`
		Max        int64   `json:"max_latency"`
		DirBytes   int64   `json:"data_dir_size"`
		Zxid       int64   `json:"last_processed_zxid"`
		Conns      int64   `json:"num_alive_client_connections"`
		Uptime     int64   `json:"uptime"`
		AuthFailed int64   `json:"auth_failed_count"`
		Remote     int64   `json:"non_mtlsremote_conn_count"`
		Local      int64   `json:"non_mtlslocal_conn_count"`
	}](t, byKey["server_stats"])
	f.stats = server.Stats{
		Server: fourlw.Server{
			Version: text(t, byKey["version"]), MinLatencyMs: st.Min, MaxLatencyMs: st.Max, AvgLatencyMs: st.Avg,
			Received: st.Received, Sent: st.Sent, Connections: st.Conns, Outstanding: st.Waiting, Zxid: st.Zxid, Mode: st.Mode,
			NodeCount: decode[int64](t, byKey["node_count"]),
		},
		FsyncsSlow: st.Fsyncs, LastResponseBytes: st.Sizes.Last, MinResponseBytes: st.Sizes.Min, MaxResponseBytes: st.Sizes.Max,
		UptimeMs: st.Uptime, AuthFailed: st.AuthFailed, NonMTLSRemote: st.Remote, NonMTLSLocal: st.Local,
	}
	f.dataBytes = st.DirBytes
	if raw, ok := byKey["proposal_stats"]; ok {
		p := decode[sizes](t, raw)
		f.stats.IsLeader, f.stats.ProposalLast, f.stats.ProposalMin, f.stats.ProposalMax = true, p.Last, p.Min, p.Max
	}
	if conns, ok := byKey["connections"]; ok {
		f.fillConns(t, conns)
	}
}

// TestGolden compares bodies with recorded ones, to the byte. Method: the values of a recorded body are put
// into a stand-in for the server, so that everything else has to be the same: keys, order, types, layout.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/3.*/*.json")
	if err != nil || len(files) < 37 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		role, name, isMember := strings.Cut(name, ".")
		if !isMember {
			name = role
		}
		command, args, _ := strings.Cut(name, "_traceMask_")
		path := "/commands/" + command
		if args != "" {
			path += "?traceMask=" + args
		}
		t.Run(strings.TrimPrefix(file, "testdata/"), func(t *testing.T) {
			f, opts := newFake(t), testOptions()
			f.fill(t, command, body)
			if isMember {
				f.member = memberOf(t, filepath.Base(filepath.Dir(file)), role)
			}
			if command == "initial_configuration" {
				opts.InitialConfig, opts.HasInitialConfig = text(t, members(t, body)[0].value), true
			}
			if command == "system_properties" {
				f.fill(t, "environment", body)
				opts.Properties = f.env
			}
			w := get(newAdminServer(opts, f, discardLog()), path)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("status %d, type %q", w.Code, w.Header().Get("Content-Type"))
			}
			if got := w.Body.String(); got != string(body) {
				t.Errorf("got\n%s\nwant\n%s", got, body)
			}
		})
	}
}

func TestList(t *testing.T) {
	want, err := os.ReadFile("testdata/3.10.0/index.html")
	if err != nil {
		t.Fatal(err)
	}
	a := newAdminServer(testOptions(), newFake(t), discardLog())
	for _, path := range []string{"/commands", "/commands/"} {
		w := get(a, path)
		if w.Code != http.StatusOK || w.Body.String() != strings.TrimSuffix(string(want), "\n")+"\n" {
			t.Errorf("%s: %d\n%s", path, w.Code, w.Body)
		}
		if typ, ok := w.Header()["Content-Type"]; !ok || typ != nil {
			t.Errorf("%s: content type %q", path, typ)
		}
	}
}

// recordedCase is one request of errors-and-auth.txt with its answer.
type recordedCase struct {
	title  string
	status int
	header http.Header
	body   string
}

func readRecorded(t *testing.T, file string) (cases []recordedCase) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split("\n"+string(b), "\n### ")[1:] {
		title, rest, _ := strings.Cut(part, "\n")
		head, body, _ := strings.Cut(rest, "\n\n")
		c := recordedCase{title: title, header: http.Header{}, body: strings.TrimSpace(body)}
		for i, line := range strings.Split(head, "\n") {
			if i == 0 {
				c.status, err = strconv.Atoi(strings.Fields(line)[1])
				if err != nil {
					t.Fatal(line)
				}
			} else if key, value, ok := strings.Cut(line, ": "); ok {
				c.header[key] = []string{value}
			}
		}
		cases = append(cases, c)
	}
	return cases
}

// TestErrorsAndAuth replays the recorded requests in their order and compares status, body and the headers
// that say something.
func TestErrorsAndAuth(t *testing.T) {
	type call struct {
		method, path, auth, body string
		status                   int // other than recorded; 0: as recorded
	}
	const digest = "digest admin:secret"
	data := strings.Repeat("s", 2236)
	calls := map[string]call{
		"GET /commands/nosuch":                                                       {path: "/commands/nosuch"},
		"GET /commands/set_trace_mask (no argument)":                                 {path: "/commands/set_trace_mask"},
		"GET /commands/set_trace_mask?traceMask=abc":                                 {path: "/commands/set_trace_mask?traceMask=abc"},
		"GET /commands/snapshot (no Authorization header)":                           {path: "/commands/snapshot"},
		"GET /commands/snapshot Authorization: bogus x:y":                            {path: "/commands/snapshot", auth: "bogus x:y"},
		"GET /commands/snapshot Authorization: 'digest a b c' (3 parts)":             {path: "/commands/snapshot", auth: "digest a b c"},
		"GET /commands/restore (GET on a POST command)":                              {path: "/commands/restore", status: 405},
		"POST /commands/ruok (POST on a GET command)":                                {method: "POST", path: "/commands/ruok", status: 405},
		"POST /commands (no command)":                                                {method: "POST", path: "/commands"},
		"PUT /commands/ruok":                                                         {method: "PUT", path: "/commands/ruok"},
		"TRACE /commands/ruok":                                                       {method: "TRACE", path: "/commands/ruok"},
		"HEAD /commands/ruok":                                                        {method: "HEAD", path: "/commands/ruok"},
		"GET / (outside commandURL)":                                                 {path: "/"},
		"GET /commands/":                                                             {path: "/commands/"},
		"POST /commands/restore (no auth)":                                           {method: "POST", path: "/commands/restore"},
		"POST /commands/shed_connections (no auth)":                                  {method: "POST", path: "/commands/shed_connections"},
		"POST /commands/shed_connections digest auth, root open ACL":                 {method: "POST", path: "/commands/shed_connections", auth: digest, body: `{"percentage": 0}`},
		"POST /commands/shed_connections 150":                                        {method: "POST", path: "/commands/shed_connections", auth: digest, body: `{"percentage": 150}`},
		"POST /commands/shed_connections {}":                                         {method: "POST", path: "/commands/shed_connections", auth: digest, body: `{}`},
		"POST /commands/shed_connections not-json":                                   {method: "POST", path: "/commands/shed_connections", auth: digest, body: `xx`},
		"GET /commands/snapshot?streaming=false digest":                              {path: "/commands/snapshot?streaming=false", auth: digest},
		"GET /commands/snapshot?streaming=false again at once":                       {path: "/commands/snapshot?streaming=false", auth: digest},
		"GET /commands/snapshot?streaming=true (headers only; body saved as binary)": {path: "/commands/snapshot?streaming=true", auth: digest},
		"POST /commands/restore with that body":                                      {method: "POST", path: "/commands/restore", auth: digest, body: data},
		"POST /commands/restore again (rate limited)":                                {method: "POST", path: "/commands/restore", auth: digest, body: data},
		"POST /commands/restore garbage on server 2":                                 {method: "POST", path: "/commands/restore", auth: digest, body: "garbage"},
		"GET /commands/snapshot ip scheme":                                           {path: "/commands/snapshot?streaming=false", auth: "ip x"},
	}
	f, opts := newFake(t), testOptions()
	f.snapZxid, f.snapshotBytes = 0x10000013a, []byte(data)
	opts.RateLimitInterval = restoreInterval
	clock := &testClock{}
	a := newAdminServer(opts, f, discardLog())
	a.now = clock.now
	replayed := 0
	for _, c := range readRecorded(t, "testdata/3.10.0/errors-and-auth.txt") {
		call, ok := calls[c.title]
		if !ok {
			t.Errorf("%q is not replayed", c.title)
			continue
		}
		replayed++
		switch {
		case strings.Contains(c.title, "streaming=true"), strings.Contains(c.title, "ip scheme"):
			clock.add(restoreInterval / snapshotRateFactor * 2)
		case strings.Contains(c.title, "server 2"):
			clock.add(restoreInterval * 2) // another server has its own limit
			f.restoreErr = io.ErrUnexpectedEOF
		}
		if call.method == "" {
			call.method = http.MethodGet
		}
		r := httptest.NewRequest(call.method, call.path, strings.NewReader(call.body))
		if call.auth != "" {
			r.Header.Set("Authorization", call.auth)
		}
		w := httptest.NewRecorder()
		a.handle(w, r)
		if call.status != 0 {
			if w.Code != call.status || w.Header().Get("Allow") == "" {
				t.Errorf("%s: status %d, allow %q", c.title, w.Code, w.Header().Get("Allow"))
			}
			continue
		}
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d", c.title, w.Code, c.status)
		}
		for _, h := range []string{"last_zxid", "snapshot_size", "Content-Type"} {
			want := c.header[h]
			if c.status == http.StatusNotFound {
				continue // an HTML page
			}
			if got := w.Header()[h]; len(got) != len(want) || len(got) == 1 && got[0] != want[0] {
				t.Errorf("%s: header %s is %q, want %q", c.title, h, got, want)
			}
		}
		switch got := w.Body.String(); {
		case c.title == "POST /commands/shed_connections not-json":
			prefix, _, _ := strings.Cut(c.body, ": Unrecognized")
			if !strings.HasPrefix(got, prefix+": ") {
				t.Errorf("%s: %s", c.title, got)
			}
		case strings.HasPrefix(c.body, "{"):
			if got != c.body {
				t.Errorf("%s: got\n%s\nwant\n%s", c.title, got, c.body)
			}
			if want := c.header.Get("Content-Length"); w.Header().Get("Content-Length") != want {
				t.Errorf("%s: %s bytes, want %s", c.title, w.Header().Get("Content-Length"), want)
			}
		case strings.HasPrefix(c.body, "<a"):
			if strings.TrimSpace(got) != c.body {
				t.Errorf("%s: got\n%s", c.title, got)
			}
		case strings.Contains(c.title, "streaming=true"):
			if got != data {
				t.Errorf("%s: %d bytes", c.title, len(got))
			}
		}
	}
	if replayed != len(calls) {
		t.Errorf("%d of %d requests are recorded", replayed, len(calls))
	}
	if string(f.restored) != data {
		t.Errorf("restored %d bytes", len(f.restored))
	}
	for name, want := range map[string]int64{"snapshot_rate_limited_count": 1, "restore_rate_limited_count": 1} {
		if n := f.figures.Counter(name).Value(); n != want {
			t.Errorf("%s is %d, want %d", name, n, want)
		}
	}
}

// TestNotServing: without a quorum some commands answer all the same.
func TestNotServing(t *testing.T) {
	f := newFake(t)
	f.notServing, f.mask = true, 306
	f.env = []fourlw.Pair{{Key: "zookeeper.version", Value: "v"}}
	a := newAdminServer(testOptions(), f, discardLog())
	seen := 0
	for _, c := range readRecorded(t, "testdata/3.10.0/noquorum.txt") {
		path := strings.Fields(c.title)[1]
		switch {
		case strings.HasSuffix(path, "/monitor"):
			// Answered with a trace by a Java server.
			c.body = "{\n  \"command\" : \"monitor\",\n  \"error\" : \"" + notServing + "\"\n}"
		case strings.HasSuffix(path, "/environment"), strings.HasSuffix(path, "/system_properties"):
			if got := get(a, path).Body.String(); strings.Contains(got, notServing) || !strings.HasSuffix(got, "\"error\" : null\n}") {
				t.Errorf("%s: %s", path, got)
			}
			continue
		}
		seen++
		w := get(a, path)
		if w.Code != http.StatusOK || w.Body.String() != c.body {
			t.Errorf("%s: %d\n%s\nwant\n%s", path, w.Code, w.Body, c.body)
		}
	}
	if seen < 10 {
		t.Errorf("%d cases", seen)
	}
}

var closedACL = proto.RawACLs(proto.AppendACLs(nil, []proto.ACL{{Perms: proto.PermRead, Scheme: "world", ID: "anyone"}}))
