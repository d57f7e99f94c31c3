package config

import (
	"strings"
)

// Treatment is how a key is treated.
type Treatment int

const (
	Honoured   Treatment = iota // the value takes effect
	Kept                        // checked and kept in Config, no part of this build acts on it: one warning
	NoEffect                    // accepted without effect, one warning with the reason
	ClientSide                  // belongs to clients, accepted silently
)

// String returns the word for documentation.
func (t Treatment) String() string {
	return [...]string{"honoured", "kept", "no effect", "client side"}[t]
}

// Kind is the shape of a value.
type Kind int

const (
	KindString   Kind = iota
	KindBool          // fixed keys take true or false in any case; other keys read everything but true as false
	KindInt           // 32 bits
	KindLong          // 64 bits
	KindFloat         // real number
	KindDuration      // whole number of Unit, 32 bits
	KindSize          // whole number of Unit, 64 bits
	KindPort          // 0..65535
	KindList          // comma-separated
	KindPath          // of a file or directory
	KindYesNo         // only the literal word that is not the default changes it
	KindMember        // spec/operations.md 1.5
)

// String returns the word for documentation.
func (k Kind) String() string {
	return [...]string{"string", "boolean", "int", "long", "real", "duration", "size", "port", "list", "path", "yes/no", "member"}[k]
}

// Key is one row of the table of configuration keys.
type Key struct {
	Name      string    // as written in zoo.cfg; a trailing * stands for any suffix
	Property  string    // system property, without -D; empty for a key that only zoo.cfg can set
	Default   string    // in Unit; empty when unset or computed
	Kind      Kind      // shape of the value
	Unit      string    // ms, s, h, KiB, bytes, ticks, ...; empty when the value has none
	Treatment Treatment // what becomes of it
	Reason    string    // why it is Kept or has NoEffect, a clause that follows "because"
	Aliases   []string  // misleading names of the upstream manual, accepted with a warning

	fixed  bool   // handled by the file parser of the Java server: strict booleans, no system property
	bare   string // additional system property without the zookeeper. prefix
	target func(*Config) any
	check  func(*builder, *Key, Setting) *Error
}

// Fixed reports whether the key is one of the fixed list of spec/operations.md 1.4, which only zoo.cfg can
// set, rather than a system property that zoo.cfg may hold too.
func (k *Key) Fixed() bool { return k.fixed }

// Keys returns the table of all keys, in the order of spec/operations.md. The slice is given; the rows
// must not be changed.
func Keys() []*Key { return append([]*Key(nil), table...) }

const prefix = "zookeeper."

var (
	table      = buildTable()
	byName     = indexBy(func(k *Key) []string { return append([]string{k.Name}, k.Aliases...) })
	byProperty = indexBy(func(k *Key) []string {
		names := []string{k.Property, k.bare}
		for _, a := range k.Aliases {
			names = append(names, prefix+a)
		}
		return names
	})
)

func indexBy(names func(*Key) []string) map[string]*Key {
	m := make(map[string]*Key)
	for _, k := range table {
		for _, n := range names(k) {
			if n != "" {
				m[n] = k
			}
		}
	}
	return m
}

func lookup(index map[string]*Key, name string) *Key {
	if k := index[name]; k != nil {
		return k
	}
	for i := strings.LastIndexByte(name, '.'); i > 0; i = strings.LastIndexByte(name[:i], '.') {
		if k := index[name[:i+1]+"*"]; k != nil {
			return k
		}
	}
	return nil
}

// FindKey returns the row of a zoo.cfg key, an alias or a suffix of a row with * included, or nil.
func FindKey(name string) *Key { return lookup(byName, name) }

func fixed(name, def string, kind Kind, unit string, target func(*Config) any) *Key {
	return &Key{Name: name, Default: def, Kind: kind, Unit: unit, fixed: true, target: target}
}

func prop(name, def string, kind Kind, unit string, target func(*Config) any) *Key {
	return &Key{Name: name, Property: prefix + name, Default: def, Kind: kind, Unit: unit, target: target}
}

func bareProp(name, def string, kind Kind, unit string, target func(*Config) any) *Key {
	return &Key{Name: name, Property: name, Default: def, Kind: kind, Unit: unit, target: target}
}

func noEffect(reason string, kind Kind, names ...string) []*Key {
	keys := make([]*Key, len(names))
	for i, n := range names {
		name, def, _ := strings.Cut(n, "=")
		keys[i] = prop(name, def, kind, "", nil)
		keys[i].Treatment, keys[i].Reason = NoEffect, reason
	}
	return keys
}

func (k *Key) alias(names ...string) *Key { k.Aliases = append(k.Aliases, names...); return k }

func (k *Key) checked(f func(*builder, *Key, Setting) *Error) *Key { k.check = f; return k }

func (k *Key) kept(reason string) *Key { k.Treatment, k.Reason = Kept, reason; return k }

func (k *Key) without(reason string) *Key { k.Treatment, k.Reason = NoEffect, reason; return k }

// also gives a property key a second system property, without the prefix.
func (k *Key) also(bare string) *Key { k.bare = bare; return k }

// onlineToo gives a fixed key a system property as well.
func (k *Key) onlineToo() *Key { k.Property = prefix + k.Name; return k }

func buildTable() []*Key {
	var t []*Key
	for _, part := range [][]*Key{
		fixedKeys(), metricsKeys(), storageKeys(), pipelineKeys(), clientPortKeys(), ensembleKeys(),
		authKeys(), tlsKeys(), adminKeys(), processKeys(), clientSideKeys(),
	} {
		t = append(t, part...)
	}
	return t
}
