package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseMember(t *testing.T) {
	f := func(line string, multi bool, want Member, text string) {
		t.Helper()
		want.ID = 7
		got, err := ParseMember(7, line, multi)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", line, got, err, want)
			return
		}
		if got.String() != text {
			t.Errorf("%s: printed %s, want %s", line, got, text)
		}
		again, err := ParseMember(7, text, multi)
		if err != nil || again.String() != text {
			t.Errorf("%s: %s read back as %s, %v", line, text, again, err)
		}
	}
	one := []Address{{"h", 2888, 3888}}
	f("h:2888:3888", false, Member{Addresses: one}, "h:2888:3888:participant")
	f("h:2888:3888 ", false, Member{Addresses: one}, "h:2888:3888:participant")
	f("h:2888:3888:Observer", false, Member{Addresses: one, Type: Observer}, "h:2888:3888:observer")
	f("h:2888:3888;2181", false, Member{Addresses: one, Client: Listener{true, Endpoint{"0.0.0.0", 2181}}}, "h:2888:3888:participant;0.0.0.0:2181")
	f("h:2888:3888:participant;c:2181", false, Member{Addresses: one, Client: Listener{true, Endpoint{"c", 2181}}}, "h:2888:3888:participant;c:2181")
	f("[::1]:2888:3888;[fe80::2]:2181", false, Member{Addresses: []Address{{"::1", 2888, 3888}}, Client: Listener{true, Endpoint{"fe80::2", 2181}}},
		"[::1]:2888:3888:participant;[fe80::2]:2181")
	f("z:1:2|a:3:4", true, Member{Addresses: []Address{{"z", 1, 2}, {"a", 3, 4}}}, "a:3:4|z:1:2:participant")
	f("a:1:2:observer|b:3:4:observer", true, Member{Addresses: []Address{{"a", 1, 2}, {"b", 3, 4}}, Type: Observer}, "a:1:2|b:3:4:observer")
	f("h:2888:3888;", false, Member{Addresses: one}, "h:2888:3888:participant")
}

func TestParseMemberRefusals(t *testing.T) {
	f := func(line string, multi bool, message string) {
		t.Helper()
		_, err := ParseMember(7, line, multi)
		var e *Error
		if !errors.As(err, &e) || e.Message != message || e.ExitCode != 2 || e.Fix == "" {
			t.Errorf("%s: %v, want %s", line, err, message)
		}
	}
	f("", false, memberForm)
	f("h:1", false, "h:1"+memberForm)
	f(";2181", false, ";2181"+memberForm)
	f("h:1:2:participant:x", false, "h:1:2:participant:x"+memberForm)
	f("h:1:2;a:b:3", false, "h:1:2;a:b:3"+memberForm)
	f("h:1:2;2181;2281", false, "h:1:2;2181;2281"+memberForm) // the secure part belongs to line 3.10
	f("h:x:2", false, "Address unresolved: h:x")
	f(":1:2", false, "Address unresolved: :1")
	f("${HOST}:1:2", false, "Address unresolved: ${HOST}:1")
	f("[no:v6]:1:2", false, "Address unresolved: no:v6:1")
	f("h:1:", false, "h:1:"+memberForm)
	f("h:1:2;c:x", false, "Address unresolved: c:x")
	f("h:1:70000", false, "port out of range:70000")
	f("h:1:1", false, "Client and election port must be different! Please update the configuration file on server.7")
	f("h:1:2:voter", false, "Unrecognised peertype: voter")
	f("a:1:2|b:1:2", false, "Multiple address feature is disabled, but multiple addresses were specified for sid 7")
	f("a:1:2:observer|b:1:2:participant", true, "Multiple addresses should have similar roles: OBSERVER vs PARTICIPANT")
	f("[::1:1:2", false, "[::1:1:2 starts with '[' but has no matching ']:'")
	f("[::1]:", false, "[::1]: doesn't have a port after colon")
	f("[::1]2888:3888", false, "[::1]2888:3888 starts with '[' but has no matching ']:'")
}

// TestQuorumText pins the two texts of a member list: the content of /zookeeper/config and the lines of a
// dynamic file.
func TestQuorumText(t *testing.T) {
	q, err := ParseQuorum(mustProperties(t, "server.10=j:1:2\nserver.2=b:1:2;2181\nserver.3=c:1:2:observer\n"+
		"group.1=10:2\nweight.2=3\nversion=1f\ntickTime=9\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	const text = "server.2=b:1:2:participant;0.0.0.0:2181\nserver.3=c:1:2:observer\nserver.10=j:1:2:participant\n" +
		"group.1=10:2\nweight.2=3\nweight.10=1\nversion=1f"
	if q.String() != text {
		t.Errorf("text\n%s\nwant\n%s", q, text)
	}
	const lines = "group.1=10:2\nserver.10=j:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:2181\nserver.3=c:1:2:observer\n" +
		"weight.10=1\nweight.2=3"
	if got := strings.Join(q.Lines(), "\n"); got != lines {
		t.Errorf("lines\n%s\nwant\n%s", got, lines)
	}
	again, err := ParseQuorum(mustProperties(t, text), false)
	if err != nil || again.String() != text {
		t.Errorf("read back as\n%s\n%v", again, err)
	}
	if q.Weight(2) != 3 || q.Weight(10) != 1 || !q.Hierarchical() || q.CountOf(Observer) != 1 {
		t.Errorf("%+v", q)
	}
	if _, ok := q.Member(4); ok {
		t.Error("a member 4 was found")
	}
}

func mustProperties(t *testing.T, text string) *Properties {
	t.Helper()
	p, err := ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestQuorumRefusals(t *testing.T) {
	f := func(text, message string) {
		t.Helper()
		_, err := ParseQuorum(mustProperties(t, text), false)
		var e *Error
		if !errors.As(err, &e) || e.Message != message || e.Fix == "" {
			t.Errorf("%q: %v, want %s", text, err, message)
		}
	}
	const three = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n"
	f(three+"group.1=1:2\n", "Server 3is not in a group")
	f(three+"weight.1=2\n", "Server 1is not in a group")
	f(three+"group.1=1:2:3\ngroup.2=3\n", "Server 3is in multiple groups")
	f(three+"group.1=1:2:x\n", `For input string: "x"`)
	f(three+"group.1=\n", "group 1 is empty")
	f(three+"group.1=1:2:3\nweight.1=-1\n", "negative weight -1")
	f(three+"server.01=a:1:2\n", "server.1 is given twice")
	f("server.=a:1:2\n", `For input string: ""`)
	f("version=xyz\n", `For input string: "xyz"`)
}

func TestVersionOfFile(t *testing.T) {
	f := func(name string, version uint64, ok bool) {
		t.Helper()
		if v, o := VersionOfFile(name); v != version || o != ok {
			t.Errorf("%s: %x %v", name, v, o)
		}
	}
	f("zoo.cfg.dynamic.100000004", 0x100000004, true)
	f("zoo.cfg.dynamic.next", 0, false)
	f("zoo.cfg.dynamic", 0, false)
	f("dyn", 0, false)
	f("dyn.", 0, false)
	f("dyn.fff", 0xfff, true)
}
