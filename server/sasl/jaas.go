package sasl

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// ErrJAAS reports a text that is no JAAS configuration.
var ErrJAAS = errors.New("sasl: bad JAAS configuration")

// A Section is a named part of a JAAS configuration.
type Section struct {
	Name    string
	Modules []Module
}

// A Module is an entry of a section.
type Module struct {
	Class   string // of Java
	Flag    string // required, requisite, sufficient or optional
	Options map[string]string
}

// ReadFile parses the JAAS configuration in a file; of a name that is empty there are no sections. It knows the
// properties user.home and user.dir. Errors match ErrJAAS, or are the file system's.
func ReadFile(name string) ([]Section, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	list, err := ParseJAAS(string(text), func(name string) (value string, ok bool) {
		switch name {
		case "user.home":
			value, err = os.UserHomeDir()
		case "user.dir":
			value, err = os.Getwd()
		default:
			return "", false
		}
		return value, err == nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return list, nil
}

// ParseJAAS reads a JAAS configuration:
//
//	Name { class flag option=value option="value" ... ; ... };
//
// with comments as in Java. ${property} in a value is replaced by what property gives, which may be nil; as in Java,
// one that is not set is an error. Errors match ErrJAAS and name the line.
func ParseJAAS(text string, property func(name string) (value string, ok bool)) ([]Section, error) {
	p := &jaasParser{rest: text, line: 1, property: property}
	var list []Section
	for p.next(); p.err == nil && p.token != ""; p.next() {
		s := Section{Name: p.word("the name of a section")}
		if slices.ContainsFunc(list, func(o Section) bool { return o.Name == s.Name }) {
			p.fail("section %q comes twice", s.Name)
		}
		p.next()
		p.want("{")
		for p.next(); p.err == nil && p.token != "}"; p.next() {
			s.Modules = append(s.Modules, p.module())
		}
		p.next()
		p.want(";")
		list = append(list, s)
	}
	if p.err != nil {
		return nil, p.err
	}
	return list, nil
}

// jaasParser reads tokens: words, texts in quotes, and the signs of the syntax.
type jaasParser struct {
	rest     string
	line     int
	property func(string) (string, bool)
	token    string // empty at the end
	quoted   bool
	err      error
}

func (p *jaasParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: line %d: %s", ErrJAAS, p.line, fmt.Sprintf(format, args...))
	}
}

const jaasSigns = "{};="

// next reads a token.
func (p *jaasParser) next() {
	p.token, p.quoted = "", false
	for p.err == nil {
		space := len(p.rest) - len(strings.TrimLeft(p.rest, " \t\r\n\f"))
		p.skip(space)
		switch {
		case strings.HasPrefix(p.rest, "/*"):
			end := strings.Index(p.rest[2:], "*/")
			if end < 0 {
				p.fail("the comment does not end")
				return
			}
			p.skip(end + 4)
		case strings.HasPrefix(p.rest, "/"): // as in Java, one is enough
			end := strings.IndexByte(p.rest, '\n')
			if end < 0 {
				end = len(p.rest)
			}
			p.skip(end)
		case p.rest == "":
			return
		case strings.IndexByte(jaasSigns, p.rest[0]) >= 0:
			p.token = p.rest[:1]
			p.skip(1)
			return
		case p.rest[0] == '"':
			p.skip(1)
			p.text()
			return
		default:
			end := strings.IndexAny(p.rest, jaasSigns+"\"/ \t\r\n\f")
			if end < 0 {
				end = len(p.rest)
			}
			p.token = p.rest[:end]
			p.skip(end)
			return
		}
	}
}

func (p *jaasParser) skip(n int) {
	p.line += strings.Count(p.rest[:n], "\n")
	p.rest = p.rest[n:]
}

// text reads what is behind an opening quote.
func (p *jaasParser) text() {
	p.quoted = true
	var b strings.Builder
	for i := 0; i < len(p.rest) && p.rest[i] != '\n'; i++ {
		switch {
		case p.rest[i] == '"':
			p.token = b.String()
			p.skip(i + 1)
			return
		case p.rest[i] == '\\' && i+1 < len(p.rest):
			i++
			b.WriteString(strings.NewReplacer("n", "\n", "t", "\t", "r", "\r", "b", "\b", "f", "\f", "a", "\a", "v", "\v").Replace(p.rest[i : i+1]))
		default:
			b.WriteByte(p.rest[i])
		}
	}
	p.fail("the quotes do not end on their line")
}

// word is the token at hand, which must be no sign.
func (p *jaasParser) word(what string) string {
	if !p.quoted && (p.token == "" || strings.Contains(jaasSigns, p.token)) {
		p.fail("want %s, not %q", what, p.token)
	}
	return p.token
}

func (p *jaasParser) want(sign string) {
	if p.quoted || p.token != sign {
		p.fail("want %q, not %q", sign, p.token)
	}
}

func (p *jaasParser) module() Module {
	m := Module{Class: p.word("the class of a login module"), Options: map[string]string{}}
	p.next()
	m.Flag = strings.ToLower(p.word("required, requisite, sufficient or optional"))
	if !slices.Contains([]string{"required", "requisite", "sufficient", "optional"}, m.Flag) {
		p.fail("want required, requisite, sufficient or optional, not %q", p.token)
	}
	for p.next(); p.err == nil && (p.quoted || p.token != ";"); p.next() {
		name := p.word("an option or ;")
		p.next()
		p.want("=")
		p.next()
		m.Options[name] = p.expand(p.word("a value of " + name))
	}
	return m
}

// expand replaces ${property}.
func (p *jaasParser) expand(s string) string {
	var b strings.Builder
	for {
		before, behind, found := strings.Cut(s, "${")
		name, rest, ends := strings.Cut(behind, "}")
		if !found || !ends {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(before)
		value, ok := "", false
		if name == "/" {
			value, ok = "/", true
		} else if p.property != nil {
			value, ok = p.property(name)
		}
		if !ok {
			p.fail("the property %q is not set", name)
		}
		b.WriteString(value)
		s = rest
	}
}
