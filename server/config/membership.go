package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// NextSuffix is appended to the path of zoo.cfg for the last seen, not yet committed member list.
const NextSuffix = ".dynamic.next"

// VersionOfFile returns the version in the name of a dynamic configuration file, the hexadecimal text after
// the last dot; ok is false when there is none. Source: QuorumPeerConfig.getVersionFromFilename.
func VersionOfFile(name string) (version uint64, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return 0, false
	}
	v, err := strconv.ParseUint(name[i+1:], 16, 63)
	return v, err == nil
}

// membership reads the member list, from zoo.cfg or from the dynamic file, and myid, and checks that they
// go together. Source: QuorumPeerConfig.setupQuorumPeerConfig and what QuorumPeer checks at its start.
func (b *builder) membership(p *Properties) *Error {
	e := &b.cfg.Ensemble
	at := func(err *Error, path string) *Error {
		if err != nil && err.File == "" {
			err.File = path
		}
		return err
	}
	var err *Error
	if path := e.DynamicPath; path != "" {
		if e.Quorum, err = b.readDynamic(path); err == nil {
			err = e.Quorum.checkMembership(e.StandaloneEnabled, b.addWarning)
		}
		if err != nil {
			return at(err, path)
		}
	} else {
		if e.Quorum, err = parseQuorum(p, e.MultiAddressEnabled); err == nil {
			e.Quorum.Version = 0
			err = e.Quorum.checkMembership(e.StandaloneEnabled, b.addWarning)
		}
		if err != nil {
			return at(err, b.src.Path)
		}
	}
	if e.OraclePath != "" && e.Quorum.Hierarchical() {
		return b.missing("oraclePath", "oraclePath does not go with group.N and weight.N lines: it breaks the tie of two servers under the majority rule",
			"drop oraclePath, or the group.N and weight.N lines")
	}
	b.warnOfMixUps(p)
	if err := b.readMyID(); err != nil {
		return err
	}
	if err := b.joinClientAddress(); err != nil {
		return err
	}
	self, listed := e.Self()
	typeByList := Participant
	if listed {
		typeByList = self.Type
	}
	if typeByList != e.PeerType {
		b.warn(slog.LevelWarn, "peerType", fmt.Sprintf("Peer type from servers list (%s) doesn't match peerType (%s). Defaulting to servers list.",
			strings.ToUpper(typeByList.String()), strings.ToUpper(e.PeerType.String())))
		e.PeerType = typeByList
	}
	if err := b.checkEnsemble(listed); err != nil {
		return err
	}
	if e.DynamicPath != "" && b.src.Path != "" {
		b.readNext(b.src.Path + NextSuffix)
	}
	return nil
}

// warnOfMixUps tells of what Java takes without a word and nobody means: a server line that a later one of the same
// id replaces, and an address that two servers have.
func (b *builder) warnOfMixUps(p *Properties) {
	lines := map[string]int{}
	for _, kv := range p.All() {
		if !strings.HasPrefix(kv.Key, "server.") {
			continue
		}
		if first, ok := lines[kv.Key]; ok {
			b.warn(slog.LevelWarn, kv.Key, fmt.Sprintf("%s stands in line %d and in line %d, and only the last one counts. Give each server its own number.", kv.Key, first, kv.Line))
		}
		lines[kv.Key] = kv.Line
	}
	owners := map[Endpoint]int64{}
	for _, m := range b.cfg.Ensemble.Quorum.Members {
		for _, a := range m.Addresses {
			for _, at := range []Endpoint{{a.Host, a.QuorumPort}, {a.Host, a.ElectionPort}} {
				if other, ok := owners[at]; ok && other != m.ID {
					b.warn(slog.LevelWarn, fmt.Sprintf("server.%d", m.ID), fmt.Sprintf("server.%d and server.%d have the same address %s, so only one of them can run. Give each its own ports.", other, m.ID, at))
				}
				owners[at] = m.ID
			}
		}
	}
}

func (b *builder) addWarning(w Warning) { b.warnings = append(b.warnings, w) }

func (b *builder) readFile(path string) ([]byte, error) {
	if b.src.ReadFile == nil {
		return nil, fs.ErrNotExist
	}
	return b.src.ReadFile(path)
}

func (b *builder) readDynamic(path string) (*Quorum, *Error) {
	text, err := b.readFile(path)
	if err != nil {
		e := &Error{ExitCode: ExitInvalidInvocation, Err: err, Key: "dynamicConfigFile", Value: path, File: b.src.Path,
			Fix: "create the file with the server.N lines, or move them into zoo.cfg and drop dynamicConfigFile"}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Message = path + " (No such file or directory)"
		case errors.Is(err, fs.ErrPermission):
			e.Message = path + " (Permission denied)"
		default:
			e.Message = fmt.Sprintf("Error processing %s: %v", path, err)
		}
		return nil, e
	}
	q, qerr := ParseDynamic(text, b.cfg.Ensemble.MultiAddressEnabled)
	if qerr != nil {
		var e *Error
		if !errors.As(qerr, &e) {
			e = memberError("mend the file", "%v", qerr)
		}
		return nil, e
	}
	q.Version, _ = VersionOfFile(path)
	return q, nil
}

// ParseDynamic parses the text of a dynamic configuration file: server., group. and weight. pairs and
// nothing else. The version is not in the text but in the file's name. It borrows text until return. The
// error is an *Error of exit code 2. Source: spec/operations.md 1.6.
func ParseDynamic(text []byte, multiAddress bool) (*Quorum, error) {
	p, err := ParseProperties(text)
	if err != nil {
		return nil, memberError(`write \u and four hexadecimal digits, or double the backslash`, "Malformed \\uxxxx encoding.")
	}
	if _, ok := p.Get("version"); ok {
		return nil, memberError("drop the line, the version is the end of the file's name", "dynamic file shouldn't have version inside")
	}
	for _, kv := range p.All() {
		if !isQuorumKey(kv.Key) {
			e := memberError("move the line to zoo.cfg", "Unrecognised parameter: %s", kv.Key)
			e.Key, e.Value, e.Line = kv.Key, kv.Value, kv.Line
			return nil, e
		}
	}
	return ParseQuorum(p, multiAddress)
}

// readNext reads a member list that was proposed but not seen committed. Like the Java server it does
// without an unreadable one.
func (b *builder) readNext(path string) {
	text, err := b.readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var q *Quorum
	if err == nil {
		var p *Properties
		if p, err = ParseProperties(text); err == nil {
			q, err = ParseQuorum(p, b.cfg.Ensemble.MultiAddressEnabled)
		}
	}
	if err != nil {
		b.warn(slog.LevelWarn, "", fmt.Sprintf("NextQuorumVerifier is initiated to null: %s: %v", path, err))
		return
	}
	b.cfg.Ensemble.Next = q
}

func (b *builder) readMyID() *Error {
	path := b.cfg.Storage.MyIDPath()
	text, err := b.readFile(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		fix := "make the file readable for the user of the server"
		if errors.Is(err, syscall.ENOTDIR) {
			fix = "give a directory as dataDir: " + b.cfg.Storage.DataDir + " is none, or is below a file"
		}
		return &Error{ExitCode: ExitInvalidInvocation, Message: fmt.Sprintf("cannot read %s: %v", path, err), File: path, Err: err, Fix: fix}
	}
	id, e := ParseMyID(text)
	if e != nil {
		var refused *Error
		if errors.As(e, &refused) {
			refused.File = path
			return refused
		}
	}
	b.cfg.Ensemble.MyID, b.cfg.Ensemble.HasMyID = id, true
	return nil
}

// ParseMyID returns the id in the text of a myid file, its first line. It borrows text until return. The
// error is an *Error of exit code 2.
func ParseMyID(text []byte) (int64, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	line = trim(line)
	id, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return 0, &Error{ExitCode: ExitInvalidInvocation, Message: "serverid " + line + " is not a number", Err: err,
			Fix: "write the N of this server's server.N line into the file, nothing else"}
	}
	return id, nil
}

// joinClientAddress makes the client part of the own member line win over clientPort, with which it must
// agree.
func (b *builder) joinClientAddress() *Error {
	e, static := &b.cfg.Ensemble, &b.cfg.Client.Plain
	self, ok := e.Self()
	if !ok || !self.Client.Enabled {
		return nil
	}
	if static.Enabled {
		staticIP, err := b.resolve(orWildcard(static.Host))
		if err != nil {
			staticIP = netip.Addr{}
		}
		memberIP, err := b.resolve(self.Client.Host)
		if err != nil {
			memberIP = netip.Addr{}
		}
		wildcard := static.Host == "" || staticIP.IsUnspecified()
		if static.Port != self.Client.Port || !wildcard && staticIP != memberIP {
			err := b.missing("clientPort", fmt.Sprintf("client address for this server (id = %d) in static config file is %s is different from client address found in dynamic file: %s",
				e.MyID, javaAddress(*static, staticIP), javaAddress(self.Client, memberIP)),
				"drop clientPort and clientPortAddress, or write the same address in the member line")
			return err
		}
	}
	b.cfg.Client.Plain = self.Client
	return nil
}

func orWildcard(host string) string {
	if host == "" {
		return "0.0.0.0"
	}
	return host
}

// javaAddress prints an address as java.net.InetSocketAddress.toString does: name/ip:port, the name empty
// for a literal.
func javaAddress(l Listener, ip netip.Addr) string {
	host := l.Host
	if host == "" {
		host = "0.0.0.0" // the wildcard address has its own text as name
	} else if _, err := netip.ParseAddr(host); err == nil {
		host = ""
	}
	if !ip.IsValid() {
		return fmt.Sprintf("%s/<unresolved>:%d", host, l.Port)
	}
	return fmt.Sprintf("%s/%s", host, netip.AddrPortFrom(ip, uint16(l.Port)))
}

func (b *builder) checkEnsemble(listed bool) *Error {
	e := &b.cfg.Ensemble
	if e.HasMyID && b.cfg.Sessions.TTLNodesEnabled && (e.MyID > 254 || e.MyID < 0) {
		err := b.missing("extendedTypesEnabled", "extendedTypesEnabled is true but Server ID is too large. Cannot be larger than 254",
			"give the server an id from 1 to 254, or drop extendedTypesEnabled")
		err.ExitCode = ExitUnexpected
		return err
	}
	if !b.cfg.IsDistributed() {
		if !b.cfg.Client.Plain.Enabled && !b.cfg.Client.Secure.Enabled {
			b.warn(slog.LevelWarn, "clientPort", "no client port is set: this standalone server will serve nobody; add clientPort=2181")
		}
		return nil
	}
	for _, limit := range []struct {
		key   string
		ticks int
	}{{"initLimit", e.InitLimitTicks}, {"syncLimit", e.SyncLimitTicks}} {
		fix := "add a line " + limit.key + "=5, a number of ticks"
		if limit.ticks == 0 {
			return b.missing(limit.key, limit.key+" is not set", fix)
		}
		if limit.ticks < 0 {
			return b.missing(limit.key, limit.key+" must be above 0", fix)
		}
	}
	if !e.HasMyID {
		return &Error{ExitCode: ExitInvalidInvocation, Message: "myid file is missing", File: b.cfg.Storage.MyIDPath(),
			Fix: "write the N of this server's server.N line into " + b.cfg.Storage.MyIDPath()}
	}
	if !listed {
		return &Error{ExitCode: ExitUnexpected, Message: fmt.Sprintf("My id %d not in the peer list", e.MyID), File: b.cfg.Storage.MyIDPath(),
			Fix: fmt.Sprintf("add a line server.%d=host:2888:3888, or write the id of a listed server into the file", e.MyID)}
	}
	return nil
}
