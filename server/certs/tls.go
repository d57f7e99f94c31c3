package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"zabra.dev/zabra/server/config"
)

// ErrSettings reports TLS settings that no configuration can be made of.
var ErrSettings = errors.New("certs: bad TLS settings")

// Options say what a server's TLS is made of.
type Options struct {
	// Side holds stores, protocols, suites and what is asked of clients. It is not changed and must not be.
	Side *config.TLSSide
	// Prefix stands in front of the names of keys in errors: "ssl." or "ssl.quorum.".
	Prefix string
	// Reload looks for new files at handshakes.
	Reload bool
	Log    *slog.Logger
	// Now is the clock that Reload goes by; time.Now if nil.
	Now func() time.Time
}

// reloadInterval is how long after a look at the files the next may be.
const reloadInterval = 5 * time.Second

// ServerConfig makes the TLS configuration of a listener. The error matches ErrStore or ErrSettings and
// names the key at fault.
func ServerConfig(o Options) (*tls.Config, error) {
	l, err := newLoader(o)
	if err != nil {
		return nil, err
	}
	if !o.Reload && !o.Side.ClientHostnameVerification {
		return l.current, nil
	}
	outer := l.current.Clone()
	outer.GetConfigForClient = l.forClient
	return outer, nil
}

func newLoader(o Options) (*loader, error) {
	l := &loader{opts: o}
	if l.opts.Now == nil {
		l.opts.Now = time.Now
	}
	cfg, err := l.load()
	if err != nil {
		return nil, err
	}
	l.files, l.current, l.lookedAt = l.stat(), cfg, l.opts.Now()
	return l, nil
}

// loader makes configurations and remembers the one in force.
type loader struct {
	opts Options

	mu       sync.Mutex // guards the rest
	current  *tls.Config
	files    []fileState
	lookedAt time.Time
}

// fileState tells whether a file is still the same.
type fileState struct {
	name    string
	size    int64
	changed time.Time
}

func (l *loader) stat() (list []fileState) {
	s := l.opts.Side
	for _, name := range []string{s.KeyStore.Location, s.KeyStore.PasswordPath, s.TrustStore.Location, s.TrustStore.PasswordPath} {
		if name == "" {
			continue
		}
		f := fileState{name: name}
		if info, err := os.Stat(name); err == nil {
			f.size, f.changed = info.Size(), info.ModTime()
		}
		list = append(list, f)
	}
	return list
}

// forClient gives the configuration for one handshake.
func (l *loader) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	cfg := l.newest()
	if s := l.opts.Side; !s.ClientHostnameVerification || !s.HostnameVerification || s.ClientAuth == "none" {
		return cfg, nil
	}
	remote, ok := hello.Conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("%w: the address of a client on %s cannot be verified", ErrSettings, hello.Conn.RemoteAddr().Network())
	}
	cfg = cfg.Clone()
	cfg.VerifyConnection = func(state tls.ConnectionState) error { return l.verifyHost(state, remote.IP) }
	return cfg, nil
}

// verifyHost checks that a certificate that was shown is that of the peer's address or, if allowed, of a
// name that the address has.
func (l *loader) verifyHost(state tls.ConnectionState, ip net.IP) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	err := bears(leaf, ip.String())
	if err == nil || !l.opts.Side.AllowReverseDNSLookup {
		return err
	}
	names, lookupErr := net.LookupAddr(ip.String())
	for _, name := range names {
		if bears(leaf, strings.TrimSuffix(name, ".")) == nil {
			return nil
		}
	}
	return errors.Join(err, lookupErr)
}

// newest looks whether there are new files, if it is time to.
func (l *loader) newest() *tls.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	if !l.opts.Reload || now.Sub(l.lookedAt) < reloadInterval {
		return l.current
	}
	l.lookedAt = now
	files := l.stat()
	if slices.Equal(files, l.files) {
		return l.current
	}
	cfg, err := l.load()
	if err != nil {
		// Half written files get another look.
		l.opts.Log.Warn("Key or trust store has changed but cannot be used; the old one stays in force", "err", err)
		return l.current
	}
	l.opts.Log.Info("Key and trust store were read again", "keyStore", l.opts.Side.KeyStore.Location, "trustStore", l.opts.Side.TrustStore.Location)
	l.files, l.current = files, cfg
	return cfg
}

// load reads the stores and makes a configuration.
func (l *loader) load() (*tls.Config, error) {
	s, prefix := l.opts.Side, l.opts.Prefix
	if s.KeyStore.Location == "" {
		return nil, fmt.Errorf("%w: zookeeper.%skeyStore.location not specified for X509KeyManager", ErrSettings, prefix)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if cfg.Certificates, err = LoadKeys(s.KeyStore); err != nil {
		return nil, fmt.Errorf("%skeyStore: %w", prefix, err)
	}
	switch s.ClientAuth {
	case "none":
	case "want":
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	default:
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if s.TrustStore.Location != "" {
		if cfg.ClientCAs, _, err = LoadTrust(s.TrustStore); err != nil {
			return nil, fmt.Errorf("%strustStore: %w", prefix, err)
		}
	} else if cfg.ClientAuth != tls.NoClientCert {
		l.opts.Log.Warn(fmt.Sprintf("zookeeper.%strustStore.location not specified for X509TrustManager; the system's authorities count", prefix))
	}
	if cfg.MinVersion, cfg.MaxVersion, err = versions(s.Protocol, s.EnabledProtocols); err != nil {
		return nil, fmt.Errorf("%w: %s%w", ErrSettings, prefix, err)
	}
	var unknown []string
	if cfg.CipherSuites, unknown, err = suites(s.CipherSuites); err != nil {
		return nil, fmt.Errorf("%w: %s%w", ErrSettings, prefix, err)
	}
	if len(unknown) > 0 {
		l.opts.Log.Warn(fmt.Sprintf("%sciphersuites holds suites that this server does not have; they have no effect: %s", prefix, strings.Join(unknown, ", ")))
	}
	return cfg, nil
}

var versionNumbers = map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}

// versions gives the range of protocol versions. Without enabledProtocols it is what a Java runtime enables
// for the protocol: 1.2 alone, or 1.2 and 1.3.
func versions(protocol string, enabled []string) (least, most uint16, err error) {
	if len(enabled) == 0 {
		switch protocol {
		case "", "TLS", "TLSv1.3":
			return tls.VersionTLS12, tls.VersionTLS13, nil
		}
		v, ok := versionNumbers[protocol]
		if !ok {
			return 0, 0, fmt.Errorf("protocol: %q is no version of TLS; write TLSv1.2 or TLSv1.3", protocol)
		}
		return v, v, nil
	}
	for _, name := range enabled {
		v, ok := versionNumbers[name]
		if !ok {
			return 0, 0, fmt.Errorf("enabledProtocols: %q is no version of TLS; write TLSv1.2,TLSv1.3", name)
		}
		if least == 0 || v < least {
			least = v
		}
		most = max(most, v)
	}
	return least, most, nil
}

// suites maps Java's names, which are those of the registry but for an SSL_ in front of old ones. Those of
// TLS 1.3 are always on, and not told apart. nil is Go's choice.
func suites(names []string) (ids []uint16, unknown []string, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	known, tls13 := map[string]uint16{}, map[string]bool{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		known[s.Name] = s.ID
		tls13[s.Name] = len(s.SupportedVersions) == 1 && s.SupportedVersions[0] == tls.VersionTLS13
	}
	matched := false
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "SSL_"); ok {
			name = "TLS_" + rest
		}
		id, ok := known[name]
		switch {
		case !ok:
			unknown = append(unknown, name)
		case tls13[name]:
			matched = true
		default:
			matched = true
			ids = append(ids, id)
		}
	}
	if !matched {
		return nil, unknown, fmt.Errorf("ciphersuites: none of %s exists here", strings.Join(names, ", "))
	}
	return ids, unknown, nil
}
