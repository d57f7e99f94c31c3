package config

import (
	"errors"
	"strings"
	"unicode/utf16"
)

// ErrMalformedEscape is returned for a \u that four hexadecimal digits do not follow.
var ErrMalformedEscape = errors.New(`config: malformed \uxxxx encoding`)

// Property is one pair of a properties file.
type Property struct {
	Key   string
	Value string
	Line  int // first line of the pair, counted from 1

	start, end int // half-open byte range of the pair in the text, line terminator included
}

// Properties is a parsed file in Java's properties syntax, in the file's order, duplicates included.
type Properties struct {
	pairs []Property
	last  map[string]int // key to the index of its last pair
}

// All lends the pairs in the file's order; valid for the life of p.
func (p *Properties) All() []Property { return p.pairs }

// Get returns the value of the last pair with that key.
func (p *Properties) Get(key string) (value string, ok bool) {
	i, ok := p.last[key]
	if !ok {
		return "", false
	}
	return p.pairs[i].Value, true
}

// Effective returns the pairs that count: for each key its last one, in the file's order. The slice is given.
func (p *Properties) Effective() []Property {
	out := make([]Property, 0, len(p.last))
	for i, kv := range p.pairs {
		if p.last[kv.Key] == i {
			out = append(out, kv)
		}
	}
	return out
}

// Set appends a pair without a place in any file.
func (p *Properties) Set(key, value string) { p.add(Property{Key: key, Value: value}) }

func (p *Properties) add(kv Property) {
	if p.last == nil {
		p.last = make(map[string]int)
	}
	p.last[kv.Key] = len(p.pairs)
	p.pairs = append(p.pairs, kv)
}

// ParseProperties parses text as java.util.Properties.load does: ISO-8859-1 bytes; comments begin with #
// or !; a pair is split at the first unescaped '=', ':' or blank; an odd number of backslashes at the end
// of a line joins the next one; \t \n \r \f and \uXXXX are escapes and any other escaped character is
// itself. Keys and values are then trimmed of characters up to U+0020, as the server does. It borrows
// text until return. The only error is ErrMalformedEscape. Source: spec/operations.md 1.2.
func ParseProperties(text []byte) (*Properties, error) {
	p := &Properties{}
	s := lineScanner{text: text}
	for s.next() {
		kv, err := splitPair(s.logical)
		if err != nil {
			return nil, err
		}
		kv.Key, kv.Value = trim(kv.Key), trim(kv.Value)
		kv.Line, kv.start, kv.end = s.line, s.start, s.pos
		p.add(kv)
	}
	return p, nil
}

// lineScanner cuts text into logical lines: comments and blank lines skipped, continuations joined,
// escapes left in place.
type lineScanner struct {
	text    []byte
	pos     int    // first byte not yet consumed
	lines   int    // natural lines consumed
	logical []byte // the current logical line; overwritten by next
	start   int    // offset of its first byte
	line    int    // number of its first natural line
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

// natural consumes one natural line and returns it without its terminator (\n, \r or \r\n).
func (s *lineScanner) natural() []byte {
	begin := s.pos
	for i := begin; i < len(s.text); i++ {
		if c := s.text[i]; c == '\n' || c == '\r' {
			s.pos = i + 1
			if c == '\r' && s.pos < len(s.text) && s.text[s.pos] == '\n' {
				s.pos++
			}
			s.lines++
			return s.text[begin:i]
		}
	}
	s.pos = len(s.text)
	s.lines++
	return s.text[begin:]
}

func trimLeftBlank(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

// continues reports whether b ends in an odd number of backslashes.
func continues(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func (s *lineScanner) next() bool {
	s.logical = s.logical[:0]
	joined := false // a lone backslash at the end of the text makes an empty pair
	for s.pos < len(s.text) {
		start, line := s.pos, s.lines+1
		b := trimLeftBlank(s.natural())
		if len(s.logical) == 0 {
			if len(b) == 0 || b[0] == '#' || b[0] == '!' {
				joined = false
				continue
			}
			s.start, s.line = start, line
		}
		if !continues(b) {
			s.logical = append(s.logical, b...)
			return true
		}
		s.logical = append(s.logical, b[:len(b)-1]...)
		joined = true
	}
	return joined
}

// splitPair cuts a logical line into key and value, escapes resolved, not yet trimmed.
func splitPair(line []byte) (Property, error) {
	keyEnd := len(line)
	escaped := false
	for i, c := range line {
		if escaped {
			escaped = false
			continue
		}
		if c == '\\' {
			escaped = true
			continue
		}
		if c == '=' || c == ':' || isBlank(c) {
			keyEnd = i
			break
		}
	}
	rest := trimLeftBlank(line[keyEnd:])
	if len(rest) > 0 && (rest[0] == '=' || rest[0] == ':') {
		rest = trimLeftBlank(rest[1:])
	}
	key, err := unescape(line[:keyEnd])
	if err != nil {
		return Property{}, err
	}
	value, err := unescape(rest)
	if err != nil {
		return Property{}, err
	}
	return Property{Key: key, Value: value}, nil
}

// trim drops characters up to U+0020 at both ends, as java.lang.String.trim.
func trim(s string) string { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) }

// unescape turns ISO-8859-1 bytes with escapes into a UTF-8 string. Surrogate halves that \u escapes
// leave unpaired become U+FFFD.
func unescape(b []byte) (string, error) {
	var units []uint16
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			if c != '\\' {
				units = append(units, uint16(c))
			}
			continue
		}
		i++
		switch c = b[i]; c {
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		case 'u':
			if len(b)-i < 5 {
				return "", ErrMalformedEscape
			}
			var u uint16
			for _, h := range b[i+1 : i+5] {
				d := hexDigit(h)
				if d < 0 {
					return "", ErrMalformedEscape
				}
				u = u<<4 | uint16(d)
			}
			units = append(units, u)
			i += 4
		default:
			units = append(units, uint16(c))
		}
	}
	return string(utf16.Decode(units)), nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
