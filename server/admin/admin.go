package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"zabra.dev/zabra/engine/auth"
	"zabra.dev/zabra/engine/proto"
	"zabra.dev/zabra/server"
	"zabra.dev/zabra/server/certs"
	"zabra.dev/zabra/server/config"
	"zabra.dev/zabra/server/fourlw"
	"zabra.dev/zabra/server/metrics"
)

// A Server is what the commands ask: *server.Server, or a stand-in in tests. All methods may be called from any
// goroutine; see there for what they return.
type Server interface {
	Serving() bool
	Membership() (m server.Membership, ok bool)
	ResetLearnerStats()
	Stats() server.Stats
	Conns() []fourlw.Conn
	ResetConnStats()
	ResetStats()
	ShedConns(percent int) (shed int)
	ConfPairs() []fourlw.Pair
	Environment() []fourlw.Pair
	MonitorPairs() []fourlw.Pair
	DirBytes() (dataBytes, logBytes int64)
	TraceMask() int64
	SetTraceMask(mask int64)
	Digests() []fourlw.Digest
	LastSnapshot() (zxid proto.Zxid, takenAtMs int64, ok bool)
	ExpiryBuckets() []server.ExpiryBucket
	Ephemerals() []server.SessionPaths
	WatchCounts() (conns, paths, watches int64)
	WatchesBySession() []server.SessionPaths
	WatchesByPath() []server.PathSessions
	Authenticate(scheme string, data []byte, peer auth.Peer) []proto.Identity
	MayAdminister(ids []proto.Identity) bool
	TakeSnapshot(ctx context.Context) (*server.SnapshotFile, error)
	Restore(ctx context.Context, r io.Reader) (proto.Zxid, error)
	Figures() *metrics.Registry
}

// Options are the settings of an AdminServer; names in parentheses are keys of zoo.cfg.
type Options struct {
	Host       string // (admin.serverAddress)
	Port       int    // (admin.serverPort)
	CommandURL string // path of the list, without a slash at the end (admin.commandURL)
	// IdleTimeout ends connections on which nothing moves (admin.idleTimeout); 0 or less: never.
	IdleTimeout     time.Duration
	SnapshotEnabled bool // (admin.snapshot.enabled)
	RestoreEnabled  bool // (admin.restore.enabled)
	// LastZxidKept tells that snapshots hold the last zxid, which both of them need (serializeLastProcessedZxid.enabled).
	LastZxidKept bool
	// RateLimitInterval is the time between two restores, and a thousand times that between two
	// snapshots (admin.rateLimiterIntervalInMS).
	RateLimitInterval time.Duration
	// UseForwardedFor takes the last address of X-Forwarded-For for the client's (IPAuthenticationProvider.usexforwardedfor).
	UseForwardedFor bool
	// InitialConfig is the text of zoo.cfg; HasInitialConfig is false where there is none.
	InitialConfig    string
	HasInitialConfig bool
	// TLS makes it HTTPS: alone, or on one port with plain HTTP (admin.forceHttps, admin.portUnification).
	TLS      *tls.Config
	PlainToo bool
	// Properties are what system_properties tells, sorted.
	Properties []fourlw.Pair
}

// FromConfig gives the options that a configuration asks for. text is that of the file it comes from, nil
// without a file. It reads the key and trust stores of HTTPS, and fails when they are no good.
func FromConfig(c *config.Config, text []byte, log *slog.Logger) (Options, error) {
	o := Options{
		Host: c.Admin.Address, Port: c.Admin.Port, CommandURL: strings.TrimRight(c.Admin.CommandURL, "/"), IdleTimeout: c.Admin.IdleTimeout,
		SnapshotEnabled: c.Admin.SnapshotEnabled, RestoreEnabled: c.Admin.RestoreEnabled,
		LastZxidKept: c.Storage.SerializeLastZxid, RateLimitInterval: c.Admin.RateLimitInterval,
		UseForwardedFor: c.Auth.IPUseXForwardedFor, InitialConfig: string(text), HasInitialConfig: text != nil,
	}
	o.Properties = properties(c)
	if !c.Admin.ForceHTTPS && !c.Admin.PortUnification {
		return o, nil
	}
	// The stores are those of connections between servers, but what is asked of clients has a key of its own.
	side := c.TLS.Quorum
	side.ClientAuth, side.ClientHostnameVerification = "none", false
	if c.Admin.NeedClientAuth {
		side.ClientAuth = "need"
	}
	var err error
	o.TLS, err = certs.ServerConfig(certs.Options{Side: &side, Prefix: "ssl.quorum.", Reload: c.TLS.QuorumReloadCertFiles, Log: log})
	o.PlainToo = !c.Admin.ForceHTTPS
	return o, err
}

// An AdminServer serves the commands until Stop.
type AdminServer struct {
	opts     Options
	srv      Server
	log      *slog.Logger
	commands map[string]*command
	limits   struct{ snapshot, restore rateLimiter }
	http     http.Server
	now      func() time.Time
	listener net.Listener
	done     chan struct{} // closed when http has ended
}

// headerTimeout bounds how long a request's header may take when there is no idle timeout, and shutdownTimeout
// how long a stop waits for commands.
const (
	headerTimeout   = 30 * time.Second
	shutdownTimeout = 2 * time.Second
)

// Start binds the port and serves. The error names the address. The caller must call Stop.
func Start(opts Options, srv Server, log *slog.Logger) (*AdminServer, error) {
	a := newAdminServer(opts, srv, log)
	// The listener's context only bounds name resolution.
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port)))
	if err != nil {
		return nil, fmt.Errorf("admin: Problem starting AdminServer on address %s, port %d and command URL %s: %w", opts.Host, opts.Port, opts.CommandURL, err)
	}
	switch {
	case opts.TLS == nil:
	case opts.PlainToo:
		insecure := srv.Figures().Counter("insecure_admin_count")
		l = certs.Unify(l, opts.TLS, func() { insecure.Add(1) })
	default:
		l = tls.NewListener(l, opts.TLS)
	}
	a.listener = l
	go func() {
		defer close(a.done)
		if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("AdminServer ended", "err", err)
		}
	}()
	log.Info(fmt.Sprintf("Started AdminServer on address %s, port %d and command URL %s", opts.Host, opts.Port, opts.CommandURL))
	return a, nil
}

func newAdminServer(opts Options, srv Server, log *slog.Logger) *AdminServer {
	a := &AdminServer{opts: opts, srv: srv, log: log, now: time.Now, done: make(chan struct{})}
	a.commands = map[string]*command{}
	for _, c := range commandTable() {
		for _, name := range append([]string{c.name}, c.aliases...) {
			a.commands[name] = c
		}
	}
	a.limits.restore.interval = opts.RateLimitInterval
	a.limits.snapshot.interval = opts.RateLimitInterval / snapshotRateFactor
	a.http = http.Server{
		Handler: http.HandlerFunc(a.handle), IdleTimeout: opts.IdleTimeout, ReadHeaderTimeout: headerTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if opts.IdleTimeout > 0 {
		a.http.ReadHeaderTimeout = opts.IdleTimeout
	}
	return a
}

// Addr is the bound address.
func (a *AdminServer) Addr() net.Addr { return a.listener.Addr() }

// Stop ends the service: commands that run are given a moment, then their connections are closed.
func (a *AdminServer) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := a.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.http.Close()
	}
	<-a.done
	return err
}

// handle serves one request.
func (a *AdminServer) handle(w http.ResponseWriter, r *http.Request) {
	if r.TLS != nil {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
	if r.Method == http.MethodTrace {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, a.opts.CommandURL)
	if !ok || rest != "" && rest[0] != '/' {
		http.NotFound(w, r)
		return
	}
	post := r.Method == http.MethodPost
	if !post && r.Method != http.MethodGet && r.Method != http.MethodHead {
		methodNotAllowed(w, "GET, HEAD, POST")
		return
	}
	name := strings.TrimPrefix(rest, "/")
	if name == "" {
		a.list(w)
		return
	}
	c := a.commands[name]
	if c != nil && post != c.post {
		allow := "GET, HEAD"
		if c.post {
			allow = "POST"
		}
		methodNotAllowed(w, allow)
		return
	}
	a.run(w, r, name, c)
}

func methodNotAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	w.WriteHeader(http.StatusMethodNotAllowed)
}

// list writes the links to all commands. It has no content type, as in Java.
func (a *AdminServer) list(w http.ResponseWriter) {
	var names []string
	for name, c := range a.commands {
		if name == c.name {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var body []byte
	for _, name := range names {
		body = fmt.Appendf(body, "<a href=\"%s/%s\">%s</a>\n<br/>\n", a.opts.CommandURL, name, name)
	}
	w.Header()["Content-Type"] = nil
	a.send(w, http.StatusOK, body)
}

// send writes a whole body. An error means that the client has gone.
func (a *AdminServer) send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (a *AdminServer) sendJSON(w http.ResponseWriter, status int, o object) {
	w.Header().Set("Content-Type", "application/json")
	a.send(w, status, appendJSON(nil, o))
}

// notServing is the error of commands that need a serving server.
const notServing = "This ZooKeeper instance is not currently serving requests"

// run runs c, which may be nil, and writes its answer.
func (a *AdminServer) run(w http.ResponseWriter, r *http.Request, name string, c *command) {
	refuse := func(status int, name, text string) {
		a.log.Debug("AdminServer refuses a command", "command", name, "client", r.RemoteAddr, "error", text)
		a.sendJSON(w, status, object{{"command", name}, {"error", text}})
	}
	if c == nil {
		refuse(http.StatusOK, name, "Unknown command: "+name)
		return
	}
	if !c.always && !a.srv.Serving() {
		refuse(http.StatusOK, c.name, notServing)
		return
	}
	if c.authorized {
		if status, text := a.authorize(r); status != 0 {
			refuse(status, c.name, text)
			return
		}
	}
	q := &request{a: a, http: r, w: w, status: http.StatusOK}
	c.run(q)
	switch {
	case q.done:
	case q.failed != "":
		a.sendJSON(w, q.status, object{{"error", q.failed}, {"command", c.name}})
	default:
		a.sendJSON(w, q.status, append(q.body, field{"command", c.name}, field{"error", nil}))
	}
}

// A request is one run of a command.
type request struct {
	a      *AdminServer
	http   *http.Request
	w      http.ResponseWriter
	status int
	body   object // the data fields
	failed string // the error that a command itself found, which stands first
	done   bool   // the command has written its answer itself
}

func (q *request) put(key string, value any) { q.body.put(key, value) }
