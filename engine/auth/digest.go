package auth

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"

	"zabra.dev/zabra/engine/proto"
)

// digestAlgs are the algorithms by the names that Java's MessageDigest knows, in lower case.
var digestAlgs = map[string]func() hash.Hash{
	"md5": md5.New, "sha": sha1.New, "sha1": sha1.New, "sha-1": sha1.New,
	"sha-224": sha256.New224, "sha-256": sha256.New,
	"sha-384": sha512.New384, "sha-512": sha512.New,
	"sha-512/224": sha512.New512_224, "sha-512/256": sha512.New512_256,
	"sha3-224": func() hash.Hash { return sha3.New224() }, "sha3-256": func() hash.Hash { return sha3.New256() },
	"sha3-384": func() hash.Hash { return sha3.New384() }, "sha3-512": func() hash.Hash { return sha3.New512() },
}

// digestAlg finds an algorithm by Java's name, in any case; empty means SHA1.
func digestAlg(name string) (func() hash.Hash, error) {
	if name == "" {
		name = "SHA1"
	}
	alg, ok := digestAlgs[strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("%w: digest algorithm %q is not known", ErrConfig, name)
	}
	return alg, nil
}

// DigestID gives the id that the digest scheme knows "user:password" by: user, a colon and the
// hash in base64. Text without a colon is all user. alg is a name as in Options.DigestAlg.
// Errors: ErrConfig. Source: client protocol, section 8.3.
func DigestID(alg, userPassword string) (string, error) {
	h, err := digestAlg(alg)
	if err != nil {
		return "", err
	}
	return digestID(h, []byte(userPassword)), nil
}

func digestID(alg func() hash.Hash, userPassword []byte) string {
	text := javaString(userPassword)
	h := alg()
	h.Write(text)
	user, _, _ := bytes.Cut(text, []byte{':'})
	return string(user) + ":" + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// digestProvider is the digest scheme.
type digestProvider struct {
	alg         func() hash.Hash
	superDigest string
}

func newDigestProvider(alg, superDigest string) (*digestProvider, error) {
	h, err := digestAlg(alg)
	if err != nil {
		return nil, err
	}
	return &digestProvider{alg: h, superDigest: superDigest}, nil
}

func (p *digestProvider) Scheme() string { return SchemeDigest }

// Authenticate takes any password: what it proves is only checked against ACLs.
func (p *digestProvider) Authenticate(data []byte, _ Peer) ([]proto.Identity, proto.ErrCode) {
	if data == nil {
		return nil, proto.ErrAuthFailed
	}
	id := digestID(p.alg, data)
	own := proto.Identity{Scheme: SchemeDigest, ID: id}
	if p.superDigest != "" && id == p.superDigest {
		return []proto.Identity{{Scheme: SchemeSuper}, own}, proto.OK
	}
	return []proto.Identity{own}, proto.OK
}

// ValidID wants two parts around a colon, where Java's split drops empty parts at the end.
func (p *digestProvider) ValidID(id []byte) bool {
	return bytes.Count(bytes.TrimRight(id, ":"), []byte{':'}) == 1
}

func (p *digestProvider) Matches(identity string, aclID []byte) bool {
	return identity == string(aclID)
}

func (p *digestProvider) Authenticated() bool { return true }

func (p *digestProvider) UserName(identity string) string {
	user, _, _ := strings.Cut(identity, ":")
	return user
}

// javaString is what Java makes of bytes that it reads as UTF-8 text and encodes again: each
// malformed sequence becomes one U+FFFD. Passwords in other encodings hash to what a Java
// server hashes them to. Well-formed input is returned as it is.
func javaString(b []byte) []byte {
	i := validPrefix(b)
	if i == len(b) {
		return b
	}
	out := append(make([]byte, 0, len(b)+8), b[:i]...)
	for b = b[i:]; len(b) > 0; {
		out = append(out, "\uFFFD"...)
		b = b[malformedLen(b):]
		n := validPrefix(b)
		out = append(out, b[:n]...)
		b = b[n:]
	}
	return out
}
