package sasl

import (
	"fmt"
	"strings"
)

// tokenMaxBytes bounds a token, as Java's side does.
const tokenMaxBytes = 4096

// directives are what a token of DIGEST-MD5 consists of: name=value, or name="value" with backslashes before
// what they quote, with commas between. White space around them does not count.
type directives map[string]string

func parseDirectives(token []byte) (directives, error) {
	if len(token) > tokenMaxBytes {
		return nil, fmt.Errorf("%w: a token of %d bytes, limit %d", ErrProtocol, len(token), tokenMaxBytes)
	}
	d := directives{}
	for rest := strings.TrimLeft(string(token), " \t\r\n,"); rest != ""; rest = strings.TrimLeft(rest, " \t\r\n,") {
		name, value, ok := strings.Cut(rest, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !ok || name == "" || strings.ContainsAny(name, "\", \t\r\n") {
			return nil, fmt.Errorf("%w: no name=value at %.40q", ErrProtocol, rest)
		}
		value = strings.TrimLeft(value, " \t\r\n")
		if strings.HasPrefix(value, `"`) {
			if value, rest, ok = unquote(value[1:]); !ok {
				return nil, fmt.Errorf("%w: the quotes of %s do not end", ErrProtocol, name)
			}
			if end := strings.TrimLeft(rest, " \t\r\n"); end != "" && end[0] != ',' {
				return nil, fmt.Errorf("%w: no comma behind %s", ErrProtocol, name)
			}
		} else {
			end := strings.IndexByte(value, ',')
			if end < 0 {
				end = len(value)
			}
			value, rest = strings.TrimRight(value[:end], " \t\r\n"), value[end:]
		}
		if _, twice := d[name]; twice {
			return nil, fmt.Errorf("%w: %s comes twice", ErrProtocol, name)
		}
		d[name] = value
	}
	return d, nil
}

// unquote gives the text up to the closing quote, and what is behind that.
func unquote(s string) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
			fallthrough
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// quote puts s into quotes.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
