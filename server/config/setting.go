package config

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Origin says where a value comes from.
type Origin int

const (
	FromDefault  Origin = iota // the table
	FromProperty               // a -D word
	FromFile                   // zoo.cfg
)

// Setting is one value that was given for a key.
type Setting struct {
	Key    string // name as the table has it, the suffix filled in
	Value  string // trimmed
	Origin Origin
	Source string // path of the file, or name of the environment variable
	Line   int    // in the file; 0 otherwise
}

// Secret reports whether the value should not be printed.
func (s Setting) Secret() bool {
	return strings.HasSuffix(strings.ToLower(s.Key), "password") || strings.HasSuffix(s.Key, "superDigest")
}

// Settings returns what was given, weaker origins that lost left out: -D words first, then zoo.cfg in its
// order. The slice is given.
func (c *Config) Settings() []Setting {
	out := make([]Setting, len(c.order))
	for i, name := range c.order {
		out[i] = c.settings[name]
	}
	return out
}

// IsSet reports whether a value was given for the key of that table name.
func (c *Config) IsSet(name string) bool {
	_, ok := c.settings[name]
	return ok
}

// builder turns settings into a Config.
type builder struct {
	cfg      *Config
	src      Source
	warnings []Warning
	late     []func() *Error // run after all settings, before the checks across keys
}

func (b *builder) warn(level slog.Level, key, message string) {
	b.warnings = append(b.warnings, Warning{Level: level, Key: key, Message: message})
}

// refuse returns the error for a wrong value, exit code 2.
func (b *builder) refuse(s Setting, message, fix string) *Error {
	return &Error{ExitCode: ExitInvalidInvocation, Message: message, File: s.Source, Line: s.Line, Key: s.Key, Value: s.Value, Fix: fix}
}

func (b *builder) badNumber(s Setting, fix string) *Error {
	return b.refuse(s, "For input string: \""+s.Value+"\"", fix)
}

// int reads a whole number: decimal for fixed keys, and what java.lang.Integer.decode takes (0x, # and a
// leading 0 for octal) for properties.
func (b *builder) int(k *Key, s Setting, bits int, fix string) (int64, *Error) {

	text, base := s.Value, 10
	if !k.fixed {
		sign := ""
		if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
			sign, text = text[:1], text[1:]
		}
		switch {
		case strings.HasPrefix(text, "0x"), strings.HasPrefix(text, "0X"):
			text, base = text[2:], 16
		case strings.HasPrefix(text, "#"):
			text, base = text[1:], 16
		case len(text) > 1 && text[0] == '0':
			text, base = text[1:], 8
		}
		if text == "" || text[0] == '-' || text[0] == '+' {
			return 0, b.badNumber(s, fix)
		}
		text = sign + text
	}
	n, err := strconv.ParseInt(text, base, bits)
	if err != nil {
		return 0, b.badNumber(s, fix)
	}
	return n, nil
}

// lenientBool reads a boolean as java.lang.Boolean.parseBoolean does and warns when that surprises.
func (b *builder) lenientBool(s Setting) bool {
	if strings.EqualFold(s.Value, "true") {
		return true
	}
	if !strings.EqualFold(s.Value, "false") {
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("%s=%s counts as false, as in the Java server; write true or false", s.Key, s.Value))
	}
	return false
}

var units = map[string]int64{
	"ms": int64(time.Millisecond), "s": int64(time.Second), "h": int64(time.Hour),
	"KiB": 1024, "bytes": 1,
}

// assign parses s.Value by the kind of k into the field of k.
func (b *builder) assign(k *Key, s Setting) *Error {
	target := k.target(b.cfg)
	switch k.Kind {
	case KindBool:
		v := false
		if k.fixed && s.Origin != FromProperty {
			switch strings.ToLower(s.Value) {
			case "true":
				v = true
			case "false":
			default:
				return b.refuse(s, "Invalid option "+s.Value+" for "+s.Key+". Choose 'true' or 'false.'", "write true or false")
			}
		} else {
			v = b.lenientBool(s)
		}
		*target.(*bool) = v
	case KindYesNo:
		other := map[string]string{"yes": "no", "no": "yes", "true": "false"}[k.Default]
		isDefault := s.Value != other
		if isDefault && s.Value != k.Default {
			b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("%s=%s counts as %s, as in the Java server; write %s or %s", s.Key, s.Value, k.Default, k.Default, other))
		}
		*target.(*bool) = isDefault == (k.Default != "no")
	case KindInt:
		n, err := b.int(k, s, 32, "give a whole number"+k.ofUnit()+k.orDefault())
		if err != nil {
			return err
		}
		*target.(*int) = int(n)
	case KindDuration, KindSize:
		bits := 32
		if k.Kind == KindSize {
			bits = 64
		}
		n, err := b.int(k, s, bits, "give a whole number"+k.ofUnit()+k.orDefault())
		if err != nil {
			return err
		}
		unit := units[k.Unit]
		if n > (1<<63-1)/unit || n < -(1<<63-1)/unit {
			return b.refuse(s, s.Key+" is too large", "give a smaller number"+k.ofUnit()+k.orDefault())
		}
		if k.Kind == KindSize {
			*target.(*int64) = n * unit
		} else {
			*target.(*time.Duration) = time.Duration(n * unit)
		}
	case KindPort:
		n, err := b.int(k, s, 32, "give a port from 1 to 65535")
		if err != nil {
			return err
		}
		if n < 0 || n > 65535 {
			return b.refuse(s, fmt.Sprintf("port out of range:%d", n), "give a port from 1 to 65535")
		}
		l := target.(*Listener)
		l.Enabled, l.Port = true, int(n)
	case KindList:
		*target.(*[]string) = splitList(s.Value)
	default:
		*target.(*string) = s.Value
	}
	return nil
}

func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = trim(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// ofUnit and orDefault finish the sentence that tells how to mend a number.
func (k *Key) ofUnit() string {
	switch k.Unit {
	case "":
		return ""
	case "ms":
		return " of milliseconds"
	case "h":
		return " of hours, without a suffix"
	}
	return " of " + k.Unit
}

func (k *Key) orDefault() string {
	if k.Default == "" {
		return ""
	}
	return ", or drop the key for the default " + k.Default
}

// defaults fills the fields from the table.
func (b *builder) defaults() *Error {
	for _, k := range table {
		if k.Default == "" {
			continue
		}
		s := Setting{Key: k.Name, Value: k.Default}
		var err *Error
		switch {
		case k.target != nil:
			err = b.assign(k, s)
		case k.check != nil:
			err = k.check(b, k, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply puts one setting into effect and warns as its row says.
func (b *builder) apply(k *Key, s Setting) *Error {
	if k.target != nil {
		if err := b.assign(k, s); err != nil {
			return err
		}
	}
	if k.check != nil {
		if err := k.check(b, k, s); err != nil {
			return err
		}
	}
	switch k.Treatment {
	case NoEffect:
		b.warn(slog.LevelWarn, s.Key, s.Key+" has no effect: "+k.Reason)
	case Kept:
		if !b.isDefault(k, s) {
			b.warn(slog.LevelWarn, s.Key, s.Key+" is accepted but has no effect: "+k.Reason)
		}
	}
	if k.Property == k.Name && s.Origin == FromFile {
		b.warn(slog.LevelWarn, s.Key, fmt.Sprintf("%s in zoo.cfg is honoured here, but Java servers take it only as -D%s in JVMFLAGS", s.Key, s.Key))
	}
	return nil
}

// isDefault reports whether the value is what would hold without it, in which case nothing is missed when
// a feature is absent.
func (b *builder) isDefault(k *Key, s Setting) bool {
	return k.Default != "" && strings.EqualFold(s.Value, k.Default)
}
