package sasl

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kinds of errors, to be told by errors.Is.
var (
	// ErrProtocol: a token is not what the exchange needs at that point.
	ErrProtocol = errors.New("sasl: bad token")
	// ErrCredentials: no such user, or another password.
	ErrCredentials = errors.New("sasl: wrong user or password")
	// ErrNoName: the name of the user is empty. Java's servers break the connection then.
	ErrNoName = errors.New("sasl: no user")
)

// A Service is whom a client logs in to. Both are constants of ZooKeeper, no host names.
type Service struct {
	Protocol string // of digest-uri
	Realm    string // also the server's name in digest-uri
	// ActAs has clients say that they act as themselves, as Java's do there.
	ActAs bool
}

// The services of ZooKeeper's servers, for clients and for other servers.
var (
	ForClients = Service{Protocol: "zookeeper", Realm: "zk-sasl-md5"}
	ForServers = Service{Protocol: "zookeeper-quorum", Realm: "zk-quorum-sasl-md5", ActAs: true}
)

func (s Service) uri() string { return s.Protocol + "/" + s.Realm }

// nonceBytes is how much randomness a nonce holds.
const nonceBytes = 30

func newNonce() string {
	b := make([]byte, nonceBytes)
	rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// A login is what both sides make the responses of.
type login struct {
	user, realm, password string
	nonce, cnonce, nc     string
	uri, authzid          string
	utf8                  bool // the client has said charset=utf-8
}

// response is the value that proves the password: of the client with method "AUTHENTICATE", of the server with none.
func (l *login) response(method string) string {
	secret := md5.New()
	for i, part := range []string{l.user, l.realm, l.password} {
		if i > 0 {
			secret.Write([]byte(":"))
		}
		secret.Write(l.bytes(part))
	}
	a1 := append(secret.Sum(nil), ":"+l.nonce+":"+l.cnonce...)
	if l.authzid != "" {
		a1 = append(a1, ":"+l.authzid...)
	}
	hash := func(b []byte) string {
		sum := md5.Sum(b)
		return hex.EncodeToString(sum[:])
	}
	return hash([]byte(strings.Join([]string{hash(a1), l.nonce, l.nc, l.cnonce, "auth", hash([]byte(method + ":" + l.uri))}, ":")))
}

// bytes is what is hashed of a text: ISO 8859-1 where that can write it, UTF-8 otherwise (RFC 2831, section 2.1.2.1).
func (l *login) bytes(s string) []byte {
	if !l.utf8 {
		return []byte(s)
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return []byte(s)
		}
		b = append(b, byte(r))
	}
	return b
}

// A Server takes the login of one client.
type Server struct {
	service Service
	users   *Users
	nonce   string
	state   serverState
	user    string
}

type serverState uint8

const (
	serverStart serverState = iota
	serverChallenged
	serverDone
	serverFailed
)

// NewServer returns a server for one exchange.
func NewServer(service Service, users *Users) *Server {
	return &Server{service: service, users: users}
}

// User is who has logged in; empty before Step has told so.
func (s *Server) User() string { return s.user }

// Step takes a client's token and gives the answer to it. done tells that the client has proved to be User. After an
// error, which matches ErrProtocol, ErrCredentials or ErrNoName, each further Step fails.
func (s *Server) Step(token []byte) (answer []byte, done bool, err error) {
	switch s.state {
	case serverStart:
		// The client's first token should be empty; Java's server does not look at it either.
		s.state, s.nonce = serverChallenged, newNonce()
		return fmt.Appendf(nil, `realm=%s,nonce=%s,charset=utf-8,algorithm=md5-sess`, quote(s.service.Realm), quote(s.nonce)), false, nil
	case serverChallenged:
		s.state = serverFailed
		l, err := s.check(token)
		if err != nil {
			return nil, false, err
		}
		s.state, s.user = serverDone, l.user
		return []byte("rspauth=" + l.response("")), true, nil
	}
	return nil, false, fmt.Errorf("%w: the exchange is over", ErrProtocol)
}

// check takes the response to the challenge.
func (s *Server) check(token []byte) (*login, error) {
	d, err := parseDirectives(token)
	if err != nil {
		return nil, err
	}
	if user, ok := d["username"]; ok && user == "" {
		return nil, ErrNoName
	}
	for _, name := range []string{"username", "nonce", "nc", "cnonce", "digest-uri", "response"} {
		if d[name] == "" {
			return nil, fmt.Errorf("%w: no %s", ErrProtocol, name)
		}
	}
	charset, named := d["charset"]
	switch {
	case named && charset != "utf-8":
		return nil, fmt.Errorf("%w: charset %q", ErrProtocol, charset)
	case named && !utf8.Valid(token):
		return nil, fmt.Errorf("%w: it is not the UTF-8 that it says", ErrProtocol)
	case d["realm"] != "" && d["realm"] != s.service.Realm:
		return nil, fmt.Errorf("%w: realm %q, this is %q", ErrProtocol, d["realm"], s.service.Realm)
	case d["nonce"] != s.nonce:
		return nil, fmt.Errorf("%w: another nonce", ErrProtocol)
	case d["nc"] != "00000001":
		return nil, fmt.Errorf("%w: nonce count %q, want 00000001", ErrProtocol, d["nc"])
	case d["qop"] != "" && d["qop"] != "auth":
		return nil, fmt.Errorf("%w: quality of protection %q, only auth was offered", ErrProtocol, d["qop"])
	case !strings.EqualFold(d["digest-uri"], s.service.uri()):
		return nil, fmt.Errorf("%w: digest-uri %q, this is %q", ErrProtocol, d["digest-uri"], s.service.uri())
	case d["authzid"] != "" && d["authzid"] != d["username"]:
		return nil, fmt.Errorf("%w: %q may not act as %q", ErrCredentials, d["username"], d["authzid"])
	}
	l := &login{user: d["username"], realm: d["realm"], nonce: s.nonce, cnonce: d["cnonce"], nc: d["nc"], uri: d["digest-uri"], authzid: d["authzid"], utf8: named}
	password, ok := s.users.password(l.user)
	l.password = password
	// A user that is not there takes as long as one that is.
	if subtle.ConstantTimeCompare([]byte(l.response("AUTHENTICATE")), []byte(d["response"])) != 1 || !ok {
		return nil, fmt.Errorf("%w: user %q", ErrCredentials, l.user)
	}
	return l, nil
}

// A Client logs in to one server.
type Client struct {
	service        Service
	user, password string
	login          *login
	done           bool
}

// NewClient returns a client for one exchange.
func NewClient(service Service, user, password string) *Client {
	return &Client{service: service, user: user, password: password}
}

// Step takes a server's token, and gives the next one to send. The first token to send is empty and not made by
// Step. done tells that the server has proved that it knows the password, too; then nothing is left to send. Errors
// match ErrProtocol or ErrCredentials.
func (c *Client) Step(token []byte) (answer []byte, done bool, err error) {
	d, err := parseDirectives(token)
	switch {
	case err != nil:
		return nil, false, err
	case c.done:
		return nil, false, fmt.Errorf("%w: the exchange is over", ErrProtocol)
	case c.login != nil:
		if subtle.ConstantTimeCompare([]byte(d["rspauth"]), []byte(c.login.response(""))) != 1 {
			return nil, false, fmt.Errorf("%w: the server does not know the password", ErrCredentials)
		}
		c.done = true
		return nil, true, nil
	case d["nonce"] == "":
		return nil, false, fmt.Errorf("%w: no nonce", ErrProtocol)
	case d["algorithm"] != "md5-sess":
		return nil, false, fmt.Errorf("%w: algorithm %q, want md5-sess", ErrProtocol, d["algorithm"])
	case d["qop"] != "" && !offers(d["qop"], "auth"):
		return nil, false, fmt.Errorf("%w: quality of protection %q, want auth", ErrProtocol, d["qop"])
	}
	realm, ok := d["realm"]
	if !ok {
		realm = c.service.Realm
	}
	l := &login{user: c.user, realm: realm, password: c.password, nonce: d["nonce"], cnonce: newNonce(), nc: "00000001", uri: c.service.uri(), utf8: d["charset"] == "utf-8"}
	if c.service.ActAs {
		l.authzid = l.user
	}
	c.login = l
	if l.utf8 {
		answer = []byte("charset=utf-8,")
	}
	answer = fmt.Appendf(answer, `username=%s,realm=%s,nonce=%s,nc=%s,cnonce=%s,digest-uri=%s,maxbuf=65536,response=%s,qop=auth`,
		quote(l.user), quote(l.realm), quote(l.nonce), l.nc, quote(l.cnonce), quote(l.uri), l.response("AUTHENTICATE"))
	if l.authzid != "" {
		answer = fmt.Appendf(answer, ",authzid=%s", quote(l.authzid))
	}
	return answer, false, nil
}

// offers tells whether one of a list with commas is want.
func offers(list, want string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(o) == want {
			return true
		}
	}
	return false
}
