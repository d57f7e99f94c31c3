package config

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// FuzzProperties: the parser never fails but for a bad escape, places are inside the text and ascend, and
// the writer's escapes are read back.
func FuzzProperties(f *testing.F) {
	for _, seed := range []string{"tickTime=2000\n", "a:b\\\n c\r\n#x\n! y\nk\\=1 v", "u=\\u00e4", "\\", "", "=", "a=b=c:d"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProperties(text)
		if err != nil {
			if !bytes.Contains(text, []byte(`\u`)) {
				t.Fatalf("%v without an escape", err)
			}
			return
		}
		at := 0
		for _, kv := range p.All() {
			if kv.start < at || kv.end < kv.start || kv.end > len(text) || kv.Line < 1 {
				t.Fatalf("pair %+v after offset %d of %d", kv, at, len(text))
			}
			at = kv.end
			line := appendEscaped([]byte("k="), kv.Value)
			again, err := ParseProperties(line)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if v, _ := again.Get("k"); v != kv.Value {
				t.Fatalf("%q written as %q and read as %q", kv.Value, line, v)
			}
		}
		if got, ok := p.Get("k"); ok && got != lastOf(p, "k") {
			t.Fatalf("Get gives %q", got)
		}
		rewritten, err := AppendRewritten(nil, text, "/conf/zoo.cfg.dynamic.1", true)
		if err != nil {
			t.Fatal(err)
		}
		q, err := ParseProperties(rewritten)
		if err != nil {
			t.Fatalf("%q rewritten as %q: %v", text, rewritten, err)
		}
		pairs := q.All()
		if len(pairs) == 0 || pairs[len(pairs)-1].Key != "dynamicConfigFile" || pairs[len(pairs)-1].Value != "/conf/zoo.cfg.dynamic.1" {
			t.Fatalf("%q rewritten as %q: the pointer is not last", text, rewritten)
		}
	})
}

func lastOf(p *Properties, key string) (value string) {
	for _, kv := range p.All() {
		if kv.Key == key {
			value = kv.Value
		}
	}
	return value
}

// FuzzMember: a member line that is accepted prints as a line that reads back as the same member.
func FuzzMember(f *testing.F) {
	for _, seed := range []string{"h:2888:3888", "h:2888:3888:observer;2181", "[::1]:1:2|[::2]:3:4;[::]:2181", "a:1:2|b:3:4:participant", ";", "[", "a:1:2;;"} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, line string, multi bool) {
		m, err := ParseMember(1, line, multi)
		if err != nil {
			return
		}
		text := m.String()
		again, err := ParseMember(1, text, multi)
		if err != nil {
			t.Fatalf("%q printed as %q, which is refused: %v", line, text, err)
		}
		if again.String() != text {
			t.Fatalf("%q printed as %q, then as %q", line, text, again)
		}
	})
}

// FuzzParse: whatever zoo.cfg and JVM variables hold, the result is a configuration or an *Error of one line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(DefaultText), "-Dzookeeper.snapCount=5 -Xmx1g")
	if text, err := os.ReadFile("testdata/startup-3.8.0.txt"); err == nil {
		for i, part := range strings.Split(string(text), "###") {
			if i%8 == 1 {
				f.Add([]byte(part), "")
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, flags string) {
		p, err := ParseProperties(text)
		if err != nil {
			return
		}
		c, _, err := Parse(p, Source{Path: "zoo.cfg", Env: []string{"JVMFLAGS=" + flags}})
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v with error %v", c, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "config: ") || strings.ContainsAny(err.Error(), "\r\n")) {
			t.Fatalf("error %q", err)
		}
		if err == nil && c.Storage.DataDir == "" {
			t.Fatal("accepted without a dataDir")
		}
	})
}
