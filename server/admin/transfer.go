package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"zabra.dev/zabra/engine/auth"
)

// authorize gives the status and the text to refuse r with, or 0. Source: operations, section 4.3.
func (a *AdminServer) authorize(r *http.Request) (status int, text string) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return http.StatusUnauthorized, "Auth info is missing for the command"
	}
	// Java splits at single blanks and drops empty parts at the end.
	words := strings.Split(strings.TrimRight(header, " "), " ")
	if len(words) > 2 {
		return http.StatusUnauthorized, "Not authenticated"
	}
	var data []byte
	if len(words) == 2 {
		data = []byte(words[1])
	}
	ids := a.srv.Authenticate(words[0], data, a.peer(r))
	if len(ids) == 0 {
		return http.StatusUnauthorized, "Not authenticated"
	}
	if !a.srv.MayAdminister(ids) {
		return http.StatusForbidden, "Not authorized"
	}
	return 0, ""
}

// peer is who sent r, as far as identities go.
func (a *AdminServer) peer(r *http.Request) auth.Peer {
	var p auth.Peer
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = at.Addr().Unmap()
	}
	if forwarded := r.Header.Values("X-Forwarded-For"); a.opts.UseForwardedFor && len(forwarded) > 0 {
		// The rightmost entry is the one that the nearest proxy has written.
		list := strings.Split(forwarded[len(forwarded)-1], ",")
		addr, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1]))
		if err != nil {
			return auth.Peer{}
		}
		p.Addr = addr.Unmap()
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		p.Certificate = r.TLS.PeerCertificates[0].Raw
	}
	return p
}

// snapshotRateFactor: a Java server takes the interval in milliseconds for one in microseconds here.
const snapshotRateFactor = 1000

// A rateLimiter lets one call per interval through, the first at once.
type rateLimiter struct {
	interval time.Duration
	mu       sync.Mutex // guards the rest
	last     time.Time
}

func (l *rateLimiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) <= l.interval {
		return false
	}
	l.last = now
	return true
}

// admit checks what snapshot and restore have in common, and sets the status when it returns false.
func (q *request) admit(enabled bool, limit *rateLimiter, limited string) bool {
	a := q.a
	switch {
	case !enabled:
		q.status = http.StatusServiceUnavailable
		a.log.Warn("A command is disabled", "path", q.http.URL.Path)
	case !a.opts.LastZxidKept:
		q.status = http.StatusInternalServerError
		a.log.Warn("A command needs serializeLastProcessedZxid.enabled=true", "path", q.http.URL.Path)
	case !limit.allow(a.now()):
		q.status = http.StatusTooManyRequests
		a.srv.Figures().Counter(limited).Add(1)
		a.log.Warn("A command was rate limited", "path", q.http.URL.Path, "interval", limit.interval)
	default:
		return true
	}
	return false
}

// snapshot takes a snapshot and streams it, unless told not to.
func snapshot(q *request) {
	a := q.a
	if !q.admit(a.opts.SnapshotEnabled, &a.limits.snapshot, "snapshot_rate_limited_count") {
		return
	}
	streaming := true
	if text, ok := argument(q.http.URL.Query(), "streaming"); ok {
		streaming = strings.EqualFold(text, "true")
	}
	f, err := a.srv.TakeSnapshot(q.http.Context())
	if err != nil {
		q.status = http.StatusInternalServerError
		a.log.Warn("Exception occurred when taking the snapshot via the snapshot admin command", "err", err)
		return
	}
	defer f.Close() // Nothing was written to it that anybody will read.
	h := q.w.Header()
	// Java does not write these two in the usual form of headers, and case is kept.
	h["last_zxid"] = []string{"0x" + strconv.FormatUint(uint64(f.Zxid), 16)}
	h["snapshot_size"] = []string{strconv.FormatInt(f.Bytes, 10)}
	if !streaming {
		return
	}
	q.done = true
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(f.Bytes, 10))
	q.w.WriteHeader(http.StatusOK)
	if q.http.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(steadyWriter{q}, f); err != nil {
		a.log.Warn("A snapshot was not streamed to its end", "client", q.http.RemoteAddr, "err", err)
		// The client has been told a length and sees that it got less.
		panic(http.ErrAbortHandler)
	}
}

// restore replaces the tree by the snapshot in the body.
func restore(q *request) {
	a := q.a
	if !q.admit(a.opts.RestoreEnabled, &a.limits.restore, "restore_rate_limited_count") {
		return
	}
	zxid, err := a.srv.Restore(q.http.Context(), steadyReader{q})
	if err != nil {
		q.status = http.StatusInternalServerError
		a.log.Warn("Exception occurred when restore snapshot via the restore command", "err", err)
		return
	}
	q.put("last_zxid", zxid)
}

// extend gives the client another idle timeout to send or take something; set is one of the two deadlines.
func (q *request) extend(set func(time.Time) error) error {
	timeout := q.a.opts.IdleTimeout
	if timeout <= 0 {
		return nil
	}
	if err := set(time.Now().Add(timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// steadyWriter ends when the client does not read for the idle timeout.
type steadyWriter struct{ q *request }

func (s steadyWriter) Write(b []byte) (int, error) {
	if err := s.q.extend(http.NewResponseController(s.q.w).SetWriteDeadline); err != nil {
		return 0, err
	}
	return s.q.w.Write(b)
}

// steadyReader ends when the client does not send for the idle timeout.
type steadyReader struct{ q *request }

func (s steadyReader) Read(b []byte) (int, error) {
	if err := s.q.extend(http.NewResponseController(s.q.w).SetReadDeadline); err != nil {
		return 0, err
	}
	return s.q.http.Body.Read(b)
}

// shedBodyBytes bounds the body of shed_connections.
const shedBodyBytes = 4 << 10

// shedConnections closes a share of the client connections. Source: operations, section 4.2; 3.10.
func shedConnections(q *request) {
	fail := func(text string) {
		q.status, q.failed = http.StatusBadRequest, text
	}
	var fields map[string]json.RawMessage
	body, err := io.ReadAll(io.LimitReader(steadyReader{q}, shedBodyBytes))
	if err == nil {
		err = json.Unmarshal(body, &fields)
	}
	if err != nil {
		fail("Invalid JSON or failed to read request body: " + err.Error())
		return
	}
	text, ok := fields["percentage"]
	if !ok {
		fail("Missing required field: percentage")
		return
	}
	var percent float64
	if err := json.Unmarshal(text, &percent); err != nil {
		fail("Invalid JSON or failed to read request body: " + err.Error())
		return
	}
	if percent < 0 || percent > 100 {
		fail("Percentage must be between 0 and 100")
		return
	}
	shed := q.a.srv.ShedConns(int(percent))
	q.put("connections_shed", shed)
	q.put("percentage_requested", int(percent))
	q.a.log.Info(fmt.Sprintf("Shed %d connections (%d%%)", shed, int(percent)))
}
