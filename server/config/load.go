package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// DefaultText is the zoo.cfg a server runs with when there is none: standalone on port 2181, data below the
// working directory, old snapshots purged, and the words that probes send admitted.
const DefaultText = `tickTime=2000
initLimit=10
syncLimit=5
dataDir=./zabra-data
clientPort=2181
autopurge.purgeInterval=1
4lw.commands.whitelist=srvr, ruok, mntr, isro
`

// Source is what a configuration is made from.
type Source struct {
	Path string   // of zoo.cfg, for messages; empty when there is no file
	Env  []string // environment as NAME=VALUE; SERVER_JVMFLAGS, JVMFLAGS and ZK_SERVER_HEAP are read

	// ReadFile reads the dynamic configuration file and myid. Nil: none of them exists.
	ReadFile func(path string) ([]byte, error)
	// Resolve gives one address of a host name for clientPortAddress. Nil: names are taken unchecked.
	Resolve func(host string) (netip.Addr, error)
}

// Load reads the zoo.cfg at path, the files it refers to, and the -D words in env (NAME=VALUE, as
// os.Environ). The warnings are for the log, in order, and are returned with an error too. The error is
// always an *Error. It reads files and resolves host names, and blocks for them.
func Load(path string, env []string) (*Config, []Warning, error) {
	b := builder{}
	b.warnRelative("", path)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, b.warnings, fileError(path, err)
	}
	p, err := ParseProperties(text)
	if err != nil {
		return nil, b.warnings, &Error{ExitCode: ExitInvalidInvocation, Message: "Malformed \\uxxxx encoding.", File: path,
			Fix: `write \u and four hexadecimal digits, or double the backslash`, Err: err}
	}
	c, warnings, err := Parse(p, Source{Path: path, Env: env, ReadFile: os.ReadFile, Resolve: resolveHost})
	return c, append(b.warnings, warnings...), err
}

func fileError(path string, err error) *Error {
	e := &Error{ExitCode: ExitInvalidInvocation, File: path, Err: err, Fix: "give the path of a readable zoo.cfg"}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Message = path + " file is missing"
	case errors.Is(err, fs.ErrPermission):
		e.Message = path + " (Permission denied)"
	default:
		e.Message = fmt.Sprintf("Error processing %s: %v", path, err)
	}
	return e
}

// Default returns the configuration of a server without any zoo.cfg: DefaultText and the -D words of env.
func Default(env []string) (*Config, []Warning, error) {
	p, err := ParseProperties([]byte(DefaultText))
	if err != nil {
		return nil, nil, err
	}
	return Parse(p, Source{Env: env, ReadFile: os.ReadFile, Resolve: resolveHost})
}

// FromArgs is the old form of the standalone entry point: port datadir [ticktime] [maxcnxns]. Other
// numbers of arguments are refused with Usage.
func FromArgs(args []string, env []string) (*Config, []Warning, error) {
	if len(args) < 2 || len(args) > 4 {
		return nil, nil, &Error{ExitCode: ExitInvalidInvocation, Message: "Invalid number of arguments:[" + strings.Join(args, ", ") + "]", Fix: Usage}
	}
	p := &Properties{}
	for i, key := range []string{"clientPort", "dataDir", "tickTime", "maxClientCnxns"}[:len(args)] {
		p.Set(key, trim(args[i]))
	}
	return Parse(p, Source{Env: env, ReadFile: os.ReadFile, Resolve: resolveHost})
}

func resolveHost(host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			return a, nil
		}
	}
	return addrs[0].Unmap(), nil
}

// Parse makes a configuration of the pairs p of a zoo.cfg. It borrows p until the Config is dropped
// (Config.Raw). Warnings and errors are as of Load.
func Parse(p *Properties, src Source) (*Config, []Warning, error) {
	b := &builder{src: src, cfg: &Config{
		Path: src.Path, Raw: p, settings: map[string]Setting{},
		Ensemble: Ensemble{Quorum: &Quorum{}},
		Metrics:  Metrics{Properties: map[string]string{}},
		Auth:     Auth{Providers: map[string]string{}},
	}}
	if err := b.run(p); err != nil {
		return nil, b.warnings, err
	}
	return b.cfg, b.warnings, nil
}

func (b *builder) run(p *Properties) *Error {
	if err := b.defaults(); err != nil {
		return err
	}
	b.properties()
	if err := b.collect(p); err != nil {
		return err
	}
	for _, name := range b.cfg.order {
		s := b.cfg.settings[name]
		if err := b.apply(FindKey(s.Key), s); err != nil {
			return err
		}
	}
	for _, f := range b.late {
		if err := f(); err != nil {
			return err
		}
	}
	for _, step := range []func() *Error{b.checkSasl, b.checkStorage, b.checkListeners, b.checkSessions, b.checkAuth} {
		if err := step(); err != nil {
			return err
		}
	}
	return b.membership(p)
}

// put makes s the value that counts for its key.
func (b *builder) put(s Setting) {
	if _, ok := b.cfg.settings[s.Key]; ok {
		for i, name := range b.cfg.order {
			if name == s.Key {
				b.cfg.order = append(b.cfg.order[:i], b.cfg.order[i+1:]...)
				break
			}
		}
	}
	b.cfg.settings[s.Key] = s
	b.cfg.order = append(b.cfg.order, s.Key)
}

// collect sorts the pairs of zoo.cfg into settings; unknown and misleading keys get their warning.
func (b *builder) collect(p *Properties) *Error {
	_, dynamic := p.Get("dynamicConfigFile")
	for _, kv := range p.Effective() {
		if kv.Key == "" {
			if kv.Value != "" {
				b.warn(slog.LevelWarn, "", fmt.Sprintf("line %d has no key and no effect", kv.Line))
			}
			continue
		}
		s := Setting{Key: kv.Key, Value: kv.Value, Origin: FromFile, Source: b.src.Path, Line: kv.Line}
		if dynamic && isQuorumKey(kv.Key) {
			return b.refuse(s, "parameter: "+kv.Key+" must be in a separate dynamic config file",
				"move the line to the dynamic file, or drop dynamicConfigFile")
		}
		k := FindKey(kv.Key)
		switch {
		case k == nil && strings.HasPrefix(kv.Key, prefix):
			b.warn(slog.LevelWarn, kv.Key, fmt.Sprintf("%s has no effect in zoo.cfg, where the prefix zookeeper. is implied; write %s",
				kv.Key, strings.TrimPrefix(kv.Key, prefix)))
		case k == nil:
			b.warn(slog.LevelWarn, kv.Key, "unknown key "+kv.Key+" has no effect"+suggestion(kv.Key))
		default:
			if s.Key = k.canonical(kv.Key); s.Key != kv.Key {
				b.warn(slog.LevelWarn, kv.Key, fmt.Sprintf("%s is honoured as %s, the name that Java servers know; they ignore %s", kv.Key, s.Key, kv.Key))
				if _, both := p.Get(s.Key); both {
					continue
				}
			}
			b.put(s)
		}
	}
	return nil
}

// canonical returns the name to file a setting under: the table's for an alias, else name itself.
func (k *Key) canonical(name string) string {
	for _, a := range k.Aliases {
		if a == name {
			return k.Name
		}
	}
	return name
}

func (b *builder) checkSasl() *Error {
	const enable, learner, server = "quorum.auth.enableSasl", "quorum.auth.learnerRequireSasl", "quorum.auth.serverRequireSasl"
	sasl := &b.cfg.SASL
	need := func(off, on string) *Error {
		return b.refuse(b.cfg.settings[on], off+" is disabled, so cannot enable "+on, "set "+off+"=true too")
	}
	switch {
	case !sasl.QuorumEnabled && sasl.QuorumServerRequired:
		return need(enable, server)
	case !sasl.QuorumEnabled && sasl.QuorumLearnerRequired:
		return need(enable, learner)
	case !sasl.QuorumLearnerRequired && sasl.QuorumServerRequired:
		return need(learner, server)
	}
	return nil
}

func (b *builder) missing(key, message, fix string) *Error {
	return &Error{ExitCode: ExitInvalidInvocation, Message: message, File: b.src.Path, Key: key, Value: b.cfg.settings[key].Value, Fix: fix}
}

func (b *builder) checkStorage() *Error {
	s := &b.cfg.Storage
	if s.DataDir == "" {
		return b.missing("dataDir", "dataDir is not set", "add a line dataDir=/path/of/the/data")
	}
	if s.DataLogDir == "" {
		s.DataLogDir = s.DataDir
	}
	l := &b.cfg.Limits
	if !b.cfg.IsSet("jute.maxbuffer.extrasize") {
		l.FrameExtraBytes = l.FrameMaxBytes
	}
	l.FrameExtraBytes = max(l.FrameExtraBytes, 1024)
	return nil
}

func (b *builder) checkListeners() *Error {
	c := &b.cfg.Client
	for _, l := range []struct {
		key string
		l   *Listener
	}{{"clientPort", &c.Plain}, {"secureClientPort", &c.Secure}} {
		host := b.cfg.settings[l.key+"Address"]
		if host.Value == "" {
			continue
		}
		if !l.l.Enabled {
			return b.refuse(host, fmt.Sprintf("%sAddress is set but %s is not set", l.key, l.key), "add a line "+l.key+"=2181 or drop the address")
		}
		if _, err := b.resolve(host.Value); err != nil {
			e := b.refuse(host, host.Value+": Name or service not known", "give an address of this machine, or a name that resolves to one")
			e.Err = err
			return e
		}
		l.l.Host = strings.Trim(host.Value, "[]")
	}
	return nil
}

// resolve returns the address of a literal or of a name; the zero Addr for a name when names are not looked up.
func (b *builder) resolve(host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.Unmap(), nil
	}
	if b.src.Resolve == nil {
		return netip.Addr{}, nil
	}
	return b.src.Resolve(host)
}

func (b *builder) checkSessions() *Error {
	s := &b.cfg.Sessions
	if s.TickTime == 0 {
		return b.missing("tickTime", "tickTime is not set", "give a number of milliseconds above 0, or drop the key for the default 3000")
	}
	if s.TickTime < 0 {
		return b.missing("tickTime", "tickTime must be above 0", "give a number of milliseconds above 0, or drop the key for the default 3000")
	}
	// Negotiated timeouts travel as 32-bit milliseconds.
	const timeoutMax = (1<<31 - 1) * time.Millisecond
	if s.MinTimeout == 0 && !b.cfg.IsSet("minSessionTimeout") || s.MinTimeout == -time.Millisecond {
		s.MinTimeout = min(2*s.TickTime, timeoutMax)
	}
	if s.MaxTimeout == 0 && !b.cfg.IsSet("maxSessionTimeout") || s.MaxTimeout == -time.Millisecond {
		s.MaxTimeout = min(20*s.TickTime, timeoutMax)
	}
	if s.MinTimeout > s.MaxTimeout {
		key := "minSessionTimeout"
		if !b.cfg.IsSet(key) {
			key = "maxSessionTimeout"
		}
		return b.missing(key, "minSessionTimeout must not be larger than maxSessionTimeout",
			fmt.Sprintf("in effect are %d and %d ms; lower the one or raise the other", s.MinTimeout.Milliseconds(), s.MaxTimeout.Milliseconds()))
	}
	e := &b.cfg.Ensemble
	if e.QuorumCnxnTimeout == 0 && !b.cfg.IsSet("quorumCnxnTimeoutMs") || e.QuorumCnxnTimeout < 0 {
		e.QuorumCnxnTimeout = s.TickTime * time.Duration(max(e.SyncLimitTicks, 0))
	}
	if e.NotificationIntervalMax < e.NotificationIntervalMin {
		return b.missing("fastleader.maxNotificationInterval", "fastleader.minNotificationInterval must not be larger than fastleader.maxNotificationInterval",
			"lower the one or raise the other")
	}
	return nil
}

func (b *builder) checkAuth() *Error {
	f := &b.cfg.FourLetter
	words := f.Words
	f.Words = nil
	if b.cfg.Sessions.ReadOnlyEnabled {
		words = append(words, "isro")
	}
	seen := map[string]bool{}
	for _, w := range append(words, "srvr") { // zkServer.sh status depends on srvr
		if !seen[w] {
			seen[w] = true
			f.Words = append(f.Words, w)
		}
	}
	a := &b.cfg.Auth
	if a.SessionRequireSasl {
		a.EnforceEnabled, a.EnforceSchemes = true, []string{"sasl"}
	}
	if a.EnforceEnabled && len(a.EnforceSchemes) == 0 {
		err := b.missing("enforce.auth.schemes", "zookeeper.enforce.auth.enabled is true zookeeper.enforce.auth.schemes must be  configured.",
			"list the schemes, for example enforce.auth.schemes=digest,sasl")
		err.ExitCode = ExitUnexpected
		return err
	}
	// No class that this server knows has another scheme, whatever the name it is loaded by.
	if (b.cfg.Client.Secure.Enabled || b.cfg.Client.PortUnification) && a.SSLProvider != "x509" {
		return b.missing("ssl.authProvider", "No auth provider configured for the SSL authentication scheme '"+a.SSLProvider+"'.",
			"drop ssl.authProvider")
	}
	return nil
}
